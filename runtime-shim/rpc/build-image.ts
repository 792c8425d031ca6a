// Builds of images for the node: the request in the builder's words, its events as messages.
import type { Draft } from '../../cri/messages.ts';
import type {
  BuildCacheResponse,
  BuildFailure,
  BuildImageRequest,
  BuildImageResponse,
} from '../../cri/node-messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { isAbort, messageOf, WindlassError } from '../../lib/errors.ts';
import type { BuildRequest, ContextSource, ImageBuilder } from '../images/image-builder.ts';
import { requireDiskSpace } from '../storage/disk-reserve.ts';
import type { Shim } from './deps.ts';

export interface Builds {
  readonly builder: ImageBuilder;
  readonly shim: Pick<Shim, 'instance' | 'storage'>;
}

/** Messages that a slow caller may be behind. */
const MAX_TOLD = 1000;

/** Builds, and tells what the build tells; a build that fails ends in a message that says why. */
export async function* buildImage(
  { builder, shim }: Builds,
  request: BuildImageRequest,
  { signal }: CallContext,
): AsyncGenerator<Draft<BuildImageResponse>> {
  const wanted = toRequest(request);
  requireDiskSpace(shim.instance.home, shim.storage.reserve, 'an image');
  const told: Draft<BuildImageResponse>[] = [];
  let wake = Promise.withResolvers<void>();
  let read = Promise.withResolvers<void>();
  const tell = (message: Draft<BuildImageResponse>): Promise<void> | void => {
    told.push(message);
    wake.resolve();
    return told.length > MAX_TOLD ? read.promise : undefined;
  };
  let isOver = false;
  const building = run(builder, wanted, signal, tell).finally(() => {
    isOver = true;
    wake.resolve();
  });
  // Told of below; a caller who has left is not waiting for it.
  building.catch(() => undefined);
  try {
    while (!isOver || told.length > 0) {
      await wake.promise;
      wake = Promise.withResolvers<void>();
      yield* told.splice(0);
      read.resolve();
      read = Promise.withResolvers<void>();
    }
    await building;
  } finally {
    // Nobody reads any more: nobody waits for that either.
    read.resolve();
  }
}

async function run(
  builder: ImageBuilder,
  request: BuildRequest,
  signal: AbortSignal,
  tell: (message: Draft<BuildImageResponse>) => Promise<void> | void,
): Promise<void> {
  try {
    const { imageId, digest, cachedSteps, commit } = await builder.build(request, {
      signal,
      onEvent(event) {
        if (event.kind === 'log') return tell({ log: event.text });
        return tell({ step: event.step, steps: event.steps, instruction: event.instruction });
      },
    });
    void tell({ image: { imageId, digest, cachedSteps, commit: commit ?? '' } });
  } catch (error) {
    if (signal.aborted || isAbort(error)) throw error;
    void tell({ failure: toFailure(error) });
  }
}

const FINAL: readonly string[] = ['Invalid', 'Unimplemented', 'Forbidden', 'SecretNotFound'];

/** What the user reads; only what the Dockerfile, its files or its secrets are to blame for is final. */
export function toFailure(error: unknown): BuildFailure {
  const known = error instanceof WindlassError ? error : undefined;
  const { position, instruction, missingSecret, missingImage, output } = (known?.details ?? {}) as {
    position?: { file: string; line: number; column: number };
    instruction?: string;
    missingSecret?: string;
    missingImage?: string;
    output?: readonly string[];
  };
  // The same build has the same secrets the next time.
  const reason = missingSecret === undefined ? (known?.reason ?? 'Internal') : 'SecretNotFound';
  // A registry that refuses an image may be asked again: the name may become that of an Image which is built here.
  const isRefusedImage = reason === 'Forbidden' && /^(FROM|COPY)\b/i.test(instruction ?? '');
  return {
    message: messageOf(error),
    file: position?.file ?? '',
    line: position?.line ?? 0,
    column: position?.column ?? 0,
    instruction: instruction ?? '',
    isFinal: FINAL.includes(reason) && !isRefusedImage,
    reason,
    output: output ?? [],
    missingImage: missingImage ?? '',
  };
}

/** What the cache of builds holds, after a pruning if that is asked for. */
export async function buildCache(
  { builder }: Builds,
  { prune, keepBytes }: { readonly prune: boolean; readonly keepBytes: number },
): Promise<BuildCacheResponse> {
  const freedBytes = prune ? await builder.pruneCache(keepBytes) : 0;
  return { ...(await builder.cacheUsage()), freedBytes };
}

function toRequest(request: BuildImageRequest): BuildRequest {
  const optional = (text: string): string | undefined => (text === '' ? undefined : text);
  const map = (values: Readonly<Record<string, string>>) => new Map(Object.entries(values));
  return {
    id: requireField(request.id, 'id'),
    context: toContext(request),
    dockerfile: request.dockerfile || 'Dockerfile',
    dockerfileInline: optional(request.dockerfileInline),
    target: optional(request.target),
    args: map(request.args),
    labels: map(request.labels),
    secrets: new Map(request.secrets.map(({ id, data }) => [id, data])),
    noCache: request.noCache,
    pull: request.pull,
    platform: optional(request.platform),
    references: request.references,
    network: optional(request.network),
    cacheFrom: request.cacheFrom,
    cacheTo: optional(request.cacheTo),
    credentials: request.credentials.map(({ registry, username, password, identityToken }) => ({
      registry: requireField(registry, 'credentials.registry'),
      ...(identityToken === '' ? { username, password } : { identityToken }),
    })),
  };
}

function toContext({ inlineFiles, hostPath, archive, git }: BuildImageRequest): ContextSource {
  const sources: ContextSource[] = [
    ...(Object.keys(inlineFiles).length > 0
      ? [{ kind: 'inline' as const, files: new Map(Object.entries(inlineFiles)) }]
      : []),
    ...(hostPath === '' ? [] : [{ kind: 'folder' as const, path: hostPath }]),
    ...(archive === '' ? [] : [{ kind: 'archive' as const, digest: archive }]),
    ...(git === '' ? [] : [{ kind: 'git' as const, url: git }]),
  ];
  if (sources.length > 1) {
    throw new WindlassError('Invalid', 'only one of inline_files, host_path, archive and git may be set');
  }
  // A Dockerfile of its own may need no files at all.
  return sources[0] ?? { kind: 'inline', files: new Map() };
}
