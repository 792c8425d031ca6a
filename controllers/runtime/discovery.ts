// Which kinds the server has right now, for the controllers that work on all of them.
import { z } from 'zod';
import type { ApiClient } from '../../client/client.ts';
import type { KindName } from '../../crds/kind.ts';
import { messageOf, WindlassError } from '../../lib/errors.ts';

const ApiGroupList = z.object({
  groups: z.array(z.object({ name: z.string(), preferredVersion: z.object({ groupVersion: z.string() }) })),
});
const ApiResourceList = z.object({
  resources: z.array(
    z.object({ name: z.string(), kind: z.string(), namespaced: z.boolean(), verbs: z.array(z.string()).default([]) }),
  ),
});

// Other names of objects that are stored under a kind listed here too: Pods are Containers, and events.k8s.io has the
// Events of the core group. Deleting or counting them twice would be wrong.
const VIEWS = new Set(['/pods', 'events.k8s.io/events']);

export interface Discovered {
  /** Kinds that can be listed, watched and deleted; one version of each. */
  readonly kinds: readonly KindName[];
  /** Groups that could not be read, with the reason. */
  readonly failures: readonly string[];
}

/** Asks the server. A group that fails is reported, and does not hide the others. */
export async function discoverKinds(client: ApiClient, signal: AbortSignal): Promise<Discovered> {
  const { groups } = ApiGroupList.parse(await getJson(client, '/apis', signal));
  const groupVersions = ['v1', ...groups.map(({ preferredVersion }) => preferredVersion.groupVersion)];
  const failures: string[] = [];
  const kinds = await Promise.all(
    groupVersions.map(async (groupVersion) => {
      try {
        return await discoverGroup(client, groupVersion, signal);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(`${groupVersion}: ${messageOf(error)}`);
        return [];
      }
    }),
  );
  return { kinds: kinds.flat(), failures };
}

async function discoverGroup(client: ApiClient, groupVersion: string, signal: AbortSignal): Promise<KindName[]> {
  const path = groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
  const { resources } = ApiResourceList.parse(await getJson(client, path, signal));
  const [group, version] = groupVersion.includes('/') ? groupVersion.split('/') : ['', groupVersion];
  return resources
    .filter(
      ({ name, verbs }) => !name.includes('/') && ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb)),
    )
    .map(({ name, kind, namespaced }) => ({
      group: group ?? '',
      version: version ?? '',
      kind,
      plural: name,
      namespaced,
    }))
    .filter((kind) => !VIEWS.has(`${kind.group}/${kind.plural}`));
}

async function getJson(client: ApiClient, path: string, signal: AbortSignal): Promise<unknown> {
  const { status, body } = await client.raw(path, signal);
  if (status !== 200) throw new WindlassError('Unavailable', `GET ${path} was answered with ${status}`);
  return JSON.parse(body) as unknown;
}

/** `plural.group`, as kubectl takes it. */
export const resourceName = ({ group, plural }: KindName): string => (group === '' ? plural : `${plural}.${group}`);
