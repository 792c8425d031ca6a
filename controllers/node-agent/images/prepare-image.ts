// The image of a Container on this node: found, or being pulled, or the reason why not.
import type { Container } from '../../../crds/container.ts';
import type { Secret } from '../../../crds/builtin.ts';
import type { Cluster } from '../cluster.ts';
import type { Need } from '../container/prepared.ts';
import type { Credentials, InspectedImage, NodeRuntime } from '../runtime/node-runtime.ts';
import { findImageSource, type ImageSource } from './image-source.ts';
import type { ImagePuller, KnownImage, PullState } from './image-puller.ts';
import { findCredentials } from './pull-secrets.ts';

export interface PrepareImageDeps {
  readonly cluster: Cluster;
  readonly runtime: Pick<NodeRuntime, 'inspectImage'>;
  readonly puller: ImagePuller;
  readonly nodeName: string;
  /** Like inspectImage, but a moment old is good enough: many starts ask for the same image at once. */
  readonly lookUp: NodeRuntime['inspectImage'];
}

export type ImageNeed = Need<{ readonly image: InspectedImage; readonly reference: string }>;

/** What the run before was made from: a restart goes on with it, wherever its name leads by now. */
export interface KeptImage {
  readonly digest: string;
  readonly reference: string;
  /** As it was looked up for that run; absent = it has to be looked for. */
  readonly image?: InspectedImage;
}

export interface PrepareImageOptions {
  /** With policy Always, a pull must have ended after this time (the decision to start the container). */
  readonly sinceMs: number;
  readonly kept?: KeptImage | undefined;
  /** Runs when the pull that it waits for ends. */
  readonly onPullEnd: (reference: string, end: PullState) => void;
  readonly signal: AbortSignal;
}

/** Finds or fetches the image; asked again until it is there. */
export async function prepareImage(
  deps: PrepareImageDeps,
  container: Container,
  options: PrepareImageOptions,
): Promise<ImageNeed> {
  const { cluster, runtime, puller, lookUp } = deps;
  const { kept } = options;
  const same = kept && (kept.image ?? (await lookUp(kept.digest)));
  if (same) return { state: 'Ready', image: same, reference: kept.reference };
  const namespace = container.metadata.namespace ?? '';
  const source = findImageSource(container, cluster.images.list(namespace));
  if (source.kind === 'missing') return { state: 'Waiting', reason: source.reason, message: source.message };
  if (source.kind === 'local') return prepareLocal(deps, container, source, options);
  const present = source.policy === 'Always' ? undefined : await lookUp(source.reference);
  if (present) return { state: 'Ready', image: present, reference: source.reference };
  if (source.policy === 'Never') {
    return {
      state: 'Waiting',
      reason: 'ErrImageNeverPull',
      message: `image ${source.reference} is not on the node and imagePullPolicy is Never`,
      // Somebody may import it by hand: no object tells of that.
      retryAtMs: Date.now() + 5000,
    };
  }
  const credentials = await readCredentials(cluster, namespace, source.secretNames, source.reference, options.signal);
  if (credentials.missing !== undefined) {
    return {
      state: 'Waiting',
      reason: 'ErrImagePull',
      message: `secret "${credentials.missing}" not found`,
      retryAtMs: Date.now() + 5000,
    };
  }
  // IfNotPresent wants any pull from now on: the image may have been removed after an earlier one.
  const pull = puller.request(source.reference, credentials.found, {
    sinceMs: source.policy === 'Always' ? options.sinceMs : Date.now(),
    waiter: container.metadata.uid ?? '',
    onEnd: (end) => options.onPullEnd(source.reference, end),
    known: source.known && knownImage(source.known, source.policy),
  });
  if (pull.state === 'Pulling') {
    return { state: 'Waiting', reason: 'Pulling', message: `pulling ${source.reference}` };
  }
  if (pull.state === 'Failed') {
    return { state: 'Waiting', reason: pull.reason, message: pull.message, retryAtMs: pull.retryAtMs };
  }
  const pulled = await runtime.inspectImage(source.reference);
  if (pulled) return { state: 'Ready', image: pulled, reference: source.reference };
  return {
    state: 'Waiting',
    reason: 'ErrImagePull',
    message: `image ${source.reference} is gone again after its pull`,
    retryAtMs: Date.now() + 1000,
  };
}

/** With policy Always the registry says what the reference means; where the bytes are is worth knowing in any case. */
function knownImage(
  { digest, nodes }: { readonly digest: string | undefined; readonly nodes: readonly string[] },
  policy: 'IfNotPresent' | 'Always',
): KnownImage {
  return { nodes, isLocal: false, ...(policy === 'Always' || digest === undefined ? {} : { digest }) };
}

async function prepareLocal(
  { puller, lookUp, nodeName }: PrepareImageDeps,
  container: Container,
  source: Extract<ImageSource, { kind: 'local' }>,
  options: PrepareImageOptions,
): Promise<ImageNeed> {
  const { reference, digest, imageName } = source;
  // A name means here what it did when the bytes came, but where they are made: there it may be ahead of the status.
  const isHome = source.home === nodeName;
  const image = (await lookUp(digest)) ?? (isHome ? await lookUp(reference) : undefined);
  if (image) return { state: 'Ready', image, reference };
  const others = source.nodes.filter((name) => name !== nodeName);
  const where = source.nodes.length > 0 ? `node ${source.nodes.join(', ')}` : 'no node';
  if (isHome || others.length === 0 || source.policy === 'Never') {
    return {
      state: 'Waiting',
      reason: 'ImageNotOnNode',
      message: `image "${imageName}" is on ${where}, not on this one`,
      retryAtMs: Date.now() + 5000,
    };
  }
  const pull = puller.request(reference, undefined, {
    sinceMs: Date.now(),
    waiter: container.metadata.uid ?? '',
    onEnd: (end) => options.onPullEnd(reference, end),
    known: { digest, nodes: others, isLocal: true },
  });
  if (pull.state === 'Pulling') {
    return { state: 'Waiting', reason: 'Pulling', message: `getting image "${imageName}" from ${where}` };
  }
  if (pull.state === 'Failed') {
    return { state: 'Waiting', reason: pull.reason, message: pull.message, retryAtMs: pull.retryAtMs };
  }
  const pulled = await lookUp(digest);
  if (pulled) return { state: 'Ready', image: pulled, reference };
  return {
    state: 'Waiting',
    reason: 'ErrImagePull',
    message: `image "${imageName}" is gone again after it came from ${where}`,
    retryAtMs: Date.now() + 1000,
  };
}

/** Credentials for a reference out of the named Secrets. */
export async function readCredentials(
  cluster: Pick<Cluster, 'secret'>,
  namespace: string,
  secretNames: readonly string[],
  reference: string,
  signal: AbortSignal,
): Promise<{ found?: Credentials | undefined; missing?: string }> {
  const secrets: Secret[] = [];
  for (const name of secretNames) {
    const secret = await cluster.secret(namespace, name, signal);
    if (!secret) return { missing: name };
    secrets.push(secret);
  }
  return { found: findCredentials(secrets, reference) };
}
