// An Image on a node that is to have it by prepull: fetched as a Container's would be, from other nodes or the registry,
// and said in the status, in which each node writes of itself alone.
import type { Node } from '../../../crds/builtin.ts';
import type { Image, ImageStatus } from '../../../crds/image.ts';
import { isPrepulledOn, referencesOf } from '../../image/plan.ts';
import type { Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import type { ImagePuller } from './image-puller.ts';
import { localReference } from './image-source.ts';
import { readCredentials } from './prepare-image.ts';

export interface PrepullDeps {
  readonly cluster: Pick<Cluster, 'secret'>;
  readonly runtime: Pick<NodeRuntime, 'inspectImage' | 'tagImage'>;
  readonly puller: ImagePuller;
  readonly nodeName: string;
  /** The Node of this agent, as it is now. */
  readonly ownNode: () => Pick<Node, 'metadata'> | undefined;
}

type Lack = NonNullable<ImageStatus['lacking']>[number];

/** What a look came to: the node's own part of the status. */
export interface Prepulled {
  readonly isHere: boolean;
  readonly lack: Omit<Lack, 'nodeName'> | undefined;
  readonly result: Result;
}

/** One look at an Image that another node fetches; undefined when it is nothing to this one. */
export async function prepullImage(
  deps: PrepullDeps,
  image: Image,
  onEnd: () => void,
  signal: AbortSignal,
): Promise<Prepulled | undefined> {
  const { nodeName, runtime, puller } = deps;
  const { spec, status, metadata } = image;
  const node = deps.ownNode();
  const isWanted = node !== undefined && isPrepulledOn(image, node);
  const isSaid =
    status?.nodes?.includes(nodeName) === true || status?.lacking?.some((one) => one.nodeName === nodeName);
  const digest = status?.digest;
  // Without a digest the node that fetches it has it not either.
  if (digest === undefined || (!isWanted && !isSaid)) return undefined;
  const present = await runtime.inspectImage(digest);
  if (present || !isWanted) {
    if (present) await nameAll(deps, image, present);
    return { isHere: present !== undefined, lack: undefined, result: {} };
  }
  const [reference = localReference(image)] = referencesOf(image);
  const names = (spec.imagePullSecrets ?? []).map(({ name }) => name);
  const isLocal = spec.reference === undefined;
  const credentials = isLocal
    ? { found: undefined }
    : await readCredentials(deps.cluster, metadata.namespace ?? '', names, reference, signal);
  if (credentials.missing !== undefined) {
    const lack = { reason: 'ErrImagePull', message: `secret "${credentials.missing}" not found` };
    return { isHere: false, lack, result: { requeueAfterMs: 5000 } };
  }
  const nodes = (status?.nodes ?? []).filter((name) => name !== nodeName);
  const pull = puller.request(reference, credentials.found, {
    ...{ sinceMs: Date.now(), waiter: metadata.uid ?? '', onEnd },
    known: { digest, nodes, isLocal },
  });
  if (pull.state === 'Pulling') return { isHere: false, lack: undefined, result: {} };
  if (pull.state === 'Failed') {
    // The reason that stays: `BackOff` would only say that it is tried again.
    const lack = { reason: 'ErrImagePull', message: pull.message };
    return { isHere: false, lack, result: { requeueAfterMs: Math.max(pull.retryAtMs - Date.now(), 100) } };
  }
  const pulled = await runtime.inspectImage(digest);
  if (pulled) {
    await nameAll(deps, image, pulled);
    return { isHere: true, lack: undefined, result: {} };
  }
  const lack = { reason: 'ErrImagePull', message: `${reference} is gone again after it came` };
  return { isHere: false, lack, result: { requeueAfterMs: 1000 } };
}

/** Here it answers to what it answers to everywhere. */
async function nameAll(
  { runtime }: PrepullDeps,
  image: Image,
  { id, references }: { readonly id: string; readonly references: readonly string[] },
): Promise<void> {
  const own = image.spec.reference === undefined ? [localReference(image)] : [];
  for (const name of [...own, ...referencesOf(image)]) if (!references.includes(name)) await runtime.tagImage(id, name);
}

/** The status with what `nodeName` says of itself; undefined when it says that already. Pure. */
export function sayOf(
  { nodes = [], lacking = [] }: Pick<ImageStatus, 'nodes' | 'lacking'>,
  nodeName: string,
  { isHere, lack }: Pick<Prepulled, 'isHere' | 'lack'>,
): Pick<ImageStatus, 'nodes' | 'lacking'> | undefined {
  const known = lacking.find((one) => one.nodeName === nodeName);
  const isSaid =
    nodes.includes(nodeName) === isHere && known?.reason === lack?.reason && known?.message === lack?.message;
  if (isSaid) return undefined;
  const byName = (a: Lack, b: Lack): number => a.nodeName.localeCompare(b.nodeName);
  const others = lacking.filter((one) => one !== known);
  return {
    nodes: [...nodes.filter((name) => name !== nodeName), ...(isHere ? [nodeName] : [])].toSorted(),
    lacking: lack ? [...others, { nodeName, ...lack }].toSorted(byName) : others,
  };
}
