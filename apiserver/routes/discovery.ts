// Discovery and OpenAPI documents: made when first asked for after the registry changed, kept as bytes with an ETag.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AGGREGATED_CONTENT_TYPE, apiGroupDiscoveryList, negotiateDiscovery } from '../discovery/aggregated.ts';
import { apiGroup, apiGroupList, apiResourceList, apiVersions } from '../discovery/legacy.ts';
import { WindlassError } from '../../lib/errors.ts';
import { encodeOpenApiV2, OPENAPI_V2_PROTOBUF_ACCEPTS, OPENAPI_V2_PROTOBUF_TYPE } from '../openapi/v2-protobuf.ts';
import { openApiV2Document, type OpenApiV2Document } from '../openapi/v2.ts';
import { openApiV3Document, openApiV3Index } from '../openapi/v3.ts';
import type { ResourceRegistry } from '../resources/registry.ts';
import { pathNotFound } from './api-errors.ts';
import type { Answer } from './call.ts';

interface Document {
  readonly contentType: string;
  readonly body: Buffer;
  readonly etag: string;
}

export interface Discovery {
  /** Answers the URL of a discovery or OpenAPI document; 304 when the client has it already. */
  answer(url: string, headers: IncomingHttpHeaders): Answer;
}

/** Documents of what `registry` holds. `ownAddress` is told to clients of `GET /api`. */
export function createDiscovery(registry: ResourceRegistry, ownAddress: () => string): Discovery {
  let cache = new Map<string, Document>();
  let generation = -1;

  const document = (key: string, contentType: string, make: () => unknown): Document => {
    if (registry.generation !== generation) {
      cache = new Map();
      generation = registry.generation;
    }
    let known = cache.get(key);
    if (!known) {
      const made = make();
      if (made === undefined) throw pathNotFound();
      const body = made instanceof Uint8Array ? Buffer.from(made) : Buffer.from(JSON.stringify(made));
      const etag = createHash('sha256').update(body).digest('hex').toUpperCase();
      cache.set(key, (known = { contentType, body, etag: `"${etag}"` }));
    }
    return known;
  };

  const v3Document = (path: string): Document => {
    const [root, group = '', version] = path.split('/');
    const [wanted, at] = root === 'api' ? ['', group] : [group, version ?? ''];
    return document(`v3/${path}`, 'application/json', () => openApiV3Document(wanted, at, registry.all()));
  };
  const hashOf = (group: string, version: string): string =>
    v3Document(group === '' ? `api/${version}` : `apis/${group}/${version}`).etag.replaceAll('"', '');

  const v2Document = (): OpenApiV2Document => {
    const known = document('v2', 'application/json', () => openApiV2Document(registry.all()));
    return JSON.parse(known.body.toString()) as OpenApiV2Document;
  };

  const openApi = (path: string, accept: string): Document => {
    if (path === 'v2') {
      if (!wantsProtobuf(accept)) return document(path, 'application/json', () => openApiV2Document(registry.all()));
      return document('v2#protobuf', OPENAPI_V2_PROTOBUF_TYPE, () => encodeOpenApiV2(v2Document()));
    }
    if (path === 'v3') return document(path, 'application/json', () => openApiV3Index(registry.all(), hashOf));
    if (path.startsWith('v3/')) return v3Document(path.slice('v3/'.length));
    throw pathNotFound();
  };

  const find = (url: URL, headers: IncomingHttpHeaders): Document => {
    const [root = '', first, second, ...rest] = url.pathname.split('/').filter(Boolean);
    if (root === 'openapi') {
      const path = [first, second, ...rest].filter((each) => each !== undefined).join('/');
      return openApi(path, headers.accept ?? '');
    }
    const json = (make: () => unknown): Document => document(url.pathname, 'application/json', make);
    if (first === undefined && (root === 'api' || root === 'apis')) {
      const form = negotiateDiscovery(headers.accept);
      if (!form) throw new WindlassError('NotAcceptable', 'only application/json is served here');
      if (form === 'aggregated') {
        return document(`${root}#aggregated`, AGGREGATED_CONTENT_TYPE, () =>
          apiGroupDiscoveryList(registry.all(), root),
        );
      }
      return json(() => (root === 'api' ? apiVersions(registry.all(), ownAddress()) : apiGroupList(registry.all())));
    }
    if (root === 'api') return json(() => apiResourceList(registry.all(), '', first as string));
    if (second === undefined) return json(() => apiGroup(registry.all(), first as string));
    return json(() => apiResourceList(registry.all(), first as string, second));
  };

  return {
    answer(text, headers) {
      const { contentType, body, etag } = find(new URL(text, 'https://host'), headers);
      const extra = { ETag: etag, Vary: 'Accept', 'Cache-Control': 'public' };
      const isKnown = String(headers['if-none-match'] ?? '').includes(etag);
      return { status: isKnown ? 304 : 200, contentType, body: isKnown ? '' : body, headers: extra };
    },
  };
}

/** Whether protobuf stands before JSON in what the client accepts; old kubectl reads no other form of version 2. */
function wantsProtobuf(accept: string): boolean {
  const first = accept.split(',')[0]?.split(';')[0]?.trim() ?? '';
  return (OPENAPI_V2_PROTOBUF_ACCEPTS as readonly string[]).includes(first);
}
