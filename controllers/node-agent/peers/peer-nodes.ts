// The other nodes as an agent knows them when it needs them: asked from the API server, remembered for a moment, and
// longer while that one is away.
import type { KindClient } from '../../../client/client.ts';
import { agentAddressOf, type AgentAddress } from '../../../crds/agent-address.ts';
import type { Node } from '../../../crds/builtin.ts';
import { NODE_KEY_ANNOTATION } from '../../../crds/join.ts';
import type { Clock } from '../../../lib/clock.ts';
import { WindlassError } from '../../../lib/errors.ts';

const FRESH_MS = 30_000;
const MAX_STRANGERS = 1024;

export interface PeerNodes {
  /** Where the agents of the other Ready nodes listen. */
  ready(signal: AbortSignal): Promise<readonly AgentAddress[]>;
  /**
   * Resolves when `name` is a node of the cluster, the one with that UID where one is given. Throws Forbidden when it is
   * not (any more), Unavailable when that cannot be found out.
   */
  admit(caller: { readonly name: string; readonly uid: string | undefined }, signal: AbortSignal): Promise<void>;
}

/** Knows nothing until it is asked. */
export function createPeerNodes({
  client,
  nodeName,
  clock,
}: {
  readonly client: Pick<KindClient<Node>, 'list'>;
  readonly nodeName: string;
  readonly clock: Clock;
}): PeerNodes {
  const refusedAt = new Map<string, number>();
  let known: { readonly atMs: number; readonly nodes: ReadonlyMap<string, Node> } | undefined;
  let asking: Promise<ReadonlyMap<string, Node>> | undefined;

  async function ask(): Promise<ReadonlyMap<string, Node>> {
    const atMs = clock.now();
    const { items } = await client.list({}, AbortSignal.timeout(5000));
    const nodes = new Map(items.map((node) => [node.metadata.name, node]));
    known = { atMs, nodes };
    return nodes;
  }

  /** As they are, or were at most that long ago; as they were last when the API server does not say. */
  async function list(signal: AbortSignal, maxAgeMs = FRESH_MS): Promise<ReadonlyMap<string, Node>> {
    if (known && clock.now() - known.atMs < maxAgeMs) return known.nodes;
    // One question for all that want to know: it does not end with the first of them.
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    try {
      const nodes = await asking;
      signal.throwIfAborted();
      return nodes;
    } catch (error) {
      signal.throwIfAborted();
      if (known) return known.nodes;
      throw new WindlassError('Unavailable', 'the nodes of the cluster are not known: the API server does not answer', {
        cause: error,
      });
    }
  }

  const isMember = (node: Node | undefined, uid: string | undefined): boolean =>
    node !== undefined &&
    node.metadata.deletionTimestamp === undefined &&
    // A certificate without a UID is that of a machine which holds the authority, and none that has joined.
    (uid === undefined ? node.metadata.annotations?.[NODE_KEY_ANNOTATION] === undefined : node.metadata.uid === uid);

  return {
    async ready(signal) {
      return [...(await list(signal)).values()].filter(isReachable).map(agentAddressOf);
    },
    async admit({ name, uid }, signal) {
      if (isMember((await list(signal)).get(name), uid)) return;
      // It may have joined since: each stranger costs one question now and then.
      const stranger = `${name} ${uid ?? ''}`;
      if (clock.now() - (refusedAt.get(stranger) ?? Number.NEGATIVE_INFINITY) >= FRESH_MS) {
        if (refusedAt.size >= MAX_STRANGERS) refusedAt.clear();
        refusedAt.set(stranger, clock.now());
        if (isMember((await list(signal, 0)).get(name), uid)) {
          refusedAt.delete(stranger);
          return;
        }
      }
      throw new WindlassError('Forbidden', `node ${name} is not in the cluster`);
    },
  };

  function isReachable({ metadata, status }: Node): boolean {
    return (
      metadata.name !== nodeName &&
      status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true &&
      status.addresses?.some(({ type }) => type === 'InternalIP') === true &&
      (status.daemonEndpoints?.kubeletEndpoint.Port ?? 0) > 0
    );
  }
}
