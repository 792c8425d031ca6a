// POST archives: a tar on its way to the node that keeps it, and the object that stands for it.
import { randomUUID } from 'node:crypto';
import { agentAddressOf } from '../../crds/agent-address.ts';
import { archiveKind, archiveName, ARCHIVE_KEPT_MS, type Archive, type UploadedArchive } from '../../crds/archive.ts';
import type { Node } from '../../crds/builtin.ts';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import { isAlreadyExists, WindlassError } from '../../lib/errors.ts';
import { createKeyedQueue } from '../../lib/keyed-queue.ts';
import { formatSize } from '../../lib/quantity.ts';
import { checkNamespaceAccepts } from '../admission/namespace-lifecycle.ts';
import type { AgentConnections } from '../pods/agent-connection.ts';
import { agentError } from '../pods/agent-error.ts';
import { readBody } from '../pods/read-body.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import type { UploadHandler } from '../resources/upload.ts';
import type { ResourceStore } from '../storage/resource-store.ts';

export interface ArchiveLimits {
  /** Of one archive. */
  readonly maxBytes: number;
  /** Of all archives of a namespace. */
  readonly quotaBytes: number;
}

export const DEFAULT_ARCHIVE_LIMITS: ArchiveLimits = { maxBytes: 4 * 2 ** 30, quotaBytes: 20 * 2 ** 30 };

/** On a Node: what its container runtime can do. */
const FEATURES_ANNOTATION = 'windlass.dev/runtime-features';
const ARCHIVES = { group: archiveKind.group, plural: archiveKind.plural };
const NODES = { group: '', plural: 'nodes' };
const MAX_ANSWER_BYTES = 64 * 1024;

export interface UploadDeps {
  readonly store: ResourceStore;
  readonly resource: Resource;
  readonly agents: Pick<AgentConnections, 'post'>;
  readonly clock: Clock;
  readonly limits: ArchiveLimits;
}

/** The handler. */
export function createArchiveUpload(deps: UploadDeps): UploadHandler {
  const { store, resource, agents, limits } = deps;
  const records = createKeyedQueue();
  return {
    ...{ group: archiveKind.group, version: archiveKind.version, plural: archiveKind.plural },
    async handle({ namespace, query, sizeBytes, body, signal }) {
      await checkNamespaceAccepts(store, resource, namespace, 'upload');
      const room = await roomIn(deps, namespace);
      const refuse = refusalOf(limits, namespace, room);
      if (sizeBytes !== undefined && sizeBytes > Math.min(limits.maxBytes, room)) throw refuse(sizeBytes);
      const node = await chooseNode(deps, namespace, query.get('nodeName') ?? undefined);
      const limited = limitBytes(body, Math.min(limits.maxBytes, room), refuse);
      const response = await agents.post(agentAddressOf(node), '/archives', limited, signal);
      const text = await readBody(response, MAX_ANSWER_BYTES);
      if (response.statusCode !== 200) throw agentError(response.statusCode ?? 502, text);
      const uploaded = JSON.parse(text) as UploadedArchive;
      return records.run(namespace, async () => {
        // Others have come in meanwhile. The node lets go of bytes that no object stands for.
        const left = await roomIn(deps, namespace, archiveName(uploaded.digest));
        if (uploaded.sizeBytes > left) throw refusalOf(limits, namespace, left)(uploaded.sizeBytes);
        return record(deps, namespace, node.metadata.name, uploaded);
      });
    },
  };
}

function refusalOf({ maxBytes }: ArchiveLimits, namespace: string, room: number): (bytes: number) => WindlassError {
  return (bytes) =>
    bytes > maxBytes
      ? new WindlassError('RequestEntityTooLarge', `an archive may have ${formatSize(maxBytes)} at most`)
      : new WindlassError(
          'Forbidden',
          `exceeded quota: archives of namespace "${namespace}" may have ${formatSize(Math.max(room, 0))} more: delete some, see kubectl get archives`,
        );
}

async function* limitBytes(
  body: AsyncIterable<Buffer>,
  limit: number,
  refuse: (bytes: number) => WindlassError,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > limit) throw refuse(bytes);
    yield chunk;
  }
}

async function archivesOf({ store }: UploadDeps, namespace: string): Promise<Archive[]> {
  // The newest: what is at hand may lack the upload before this one.
  const { entries } = await store.list(ARCHIVES, { namespace });
  return entries.map(({ object }) => object as unknown as Archive);
}

/** What the quota leaves; the archive called `except` takes up none of it. */
async function roomIn(deps: UploadDeps, namespace: string, except?: string): Promise<number> {
  const archives = await archivesOf(deps, namespace);
  return archives
    .filter(({ metadata }) => metadata.name !== except)
    .reduce((left, { sizeBytes }) => left - sizeBytes, deps.limits.quotaBytes);
}

/** The node asked for, or of those that can the one with the fewest archives. */
async function chooseNode(deps: UploadDeps, namespace: string, asked: string | undefined): Promise<Node> {
  const { entries } = await deps.store.list(NODES, { revision: 0 });
  const nodes = entries.map(({ object }) => object as unknown as Node);
  if (asked !== undefined) {
    const node = nodes.find(({ metadata }) => metadata.name === asked);
    if (!node) throw new WindlassError('BadRequest', `nodeName: node "${asked}" is not in the cluster`);
    if (!canKeep(node)) throw new WindlassError('Unavailable', `nodeName: node "${asked}" takes no archives now`);
    return node;
  }
  const held = (await archivesOf(deps, namespace)).flatMap((archive) => archive.nodes);
  const load = ({ metadata }: Node): number => held.filter((name) => name === metadata.name).length;
  const best = nodes
    .filter(canKeep)
    .toSorted((a, b) => load(a) - load(b) || a.metadata.name.localeCompare(b.metadata.name))[0];
  if (best) return best;
  throw new WindlassError('Unavailable', `none of ${nodes.length} node(s) is ready to take an archive`);
}

function canKeep({ metadata, spec, status }: Node): boolean {
  const isReady = status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
  const features = metadata.annotations?.[FEATURES_ANNOTATION]?.split(',') ?? [];
  return isReady === true && spec?.unschedulable !== true && features.includes('archives');
}

/** The object for bytes that are there: a new one, or that of an upload before, which lives on. */
async function record(
  { store, clock, resource }: UploadDeps,
  namespace: string,
  nodeName: string,
  { digest, sizeBytes }: UploadedArchive,
): Promise<object> {
  const name = archiveName(digest);
  const now = clock.now();
  const expiresAt = rfc3339(now + ARCHIVE_KEPT_MS);
  const object = {
    apiVersion: `${resource.group}/${resource.version}`,
    kind: resource.kind,
    metadata: { name, namespace, uid: randomUUID(), creationTimestamp: rfc3339(now) },
    ...{ digest, sizeBytes, nodes: [nodeName], expiresAt },
  };
  for (;;) {
    try {
      return (await store.create(ARCHIVES, object as unknown as StoredObject)).object;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const known = await store.get(ARCHIVES, namespace, name);
    if (!known) continue;
    const { entry } = await store.guaranteedUpdate(ARCHIVES, namespace, name, (found) => {
      const archive = found.clone() as unknown as Archive;
      const nodes = [...new Set([...archive.nodes, nodeName])].toSorted();
      // Without a time it is in use, or its first is still to be set.
      const kept = archive.expiresAt ? { expiresAt } : {};
      return { kind: 'put', object: { ...archive, nodes, ...kept } as unknown as StoredObject };
    });
    return entry.object;
  }
}
