// Keeps the Node object of this machine: creates it, and writes its status when it changes or grows old.
import type { KindClient } from '../../../client/client.ts';
import type { Node } from '../../../crds/builtin.ts';
import type { Clock } from '../../../lib/clock.ts';
import { isAlreadyExists, messageOf, reasonOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import { nodeLabels, nodeStatus, type NodeFacts, type RuntimeHealth } from './node-object.ts';

/** The Lease is the heartbeat; the status is refreshed as rarely as kubelet does. */
const REFRESH_MS = 5 * 60_000;
const RETRY_MS = 500;
const LOOK_MS = 10_000;

export interface NodeRegistrar extends RunPart {
  /** Why the node is not ready; undefined when it is. */
  setProblem(problem: string | undefined): void;
  /** Asks the server now whether the Node still says what it should. */
  look(): void;
  /** `name://version` of the container runtime. */
  setRuntime(version: string): void;
}

/** The registrar; `facts` is known before it runs. */
export function createNodeRegistrar(deps: {
  readonly client: Pick<KindClient<Node>, 'get' | 'create' | 'mergePatch'>;
  readonly facts: NodeFacts;
  /** The Node as the agent's watch has it; undefined where it has none, and the server is asked. */
  readonly watched: () => Node | undefined;
  /** The annotations as they should be now. */
  readonly annotations: () => Readonly<Record<string, string>>;
  /** What the disk lacks now. */
  readonly diskProblem: () => string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}): NodeRegistrar {
  const { client, facts, clock, log } = deps;
  let health: RuntimeHealth = {
    problem: 'the container runtime is not connected yet',
    runtimeVersion: '',
    diskProblem: undefined,
  };
  let written: { health: RuntimeHealth; atMs: number } | undefined;
  let wake = new AbortController();
  let wasRefused = false;
  /** What was watched may be of before the silence that is the reason to look. */
  let mustAsk = true;

  async function write(signal: AbortSignal): Promise<void> {
    const said = health;
    const node = (await client.get(facts.name, undefined, signal)) ?? (await register(deps, signal));
    const status = nodeStatus(facts, node.status, said, clock.now());
    await describe(node, signal);
    await client.mergePatch(facts.name, undefined, { status }, { subresource: 'status' }, signal);
    written = { health: said, atMs: clock.now() };
  }

  /** What the Node lacks of its labels and annotations; undefined when it has them. */
  function planDescription({ metadata }: Node): object | undefined {
    const labels = nodeLabels(facts);
    const annotations = deps.annotations();
    const differs = (wanted: Readonly<Record<string, string>>, has: Readonly<Record<string, string>> = {}): boolean =>
      Object.entries(wanted).some(([key, value]) => has[key] !== value);
    const isDescribed = !differs(labels, metadata.labels) && !differs(annotations, metadata.annotations);
    return isDescribed ? undefined : { metadata: { labels, annotations } };
  }

  async function describe(node: Node, signal: AbortSignal): Promise<void> {
    const plan = planDescription(node);
    if (plan) await client.mergePatch(facts.name, undefined, plan, {}, signal);
  }

  function isReadyAsWritten(node: Node | undefined): boolean {
    const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready');
    return ready?.status === (written?.health.problem === undefined ? 'True' : 'False');
  }

  // While this agent was silent, node-lifecycle said Unknown in its place, or somebody deleted the Node.
  async function isOverruled(signal: AbortSignal): Promise<boolean> {
    const watched = mustAsk ? undefined : deps.watched();
    mustAsk = false;
    // It may be late: what it does not confirm is asked for.
    if (watched && isReadyAsWritten(watched) && !planDescription(watched)) return false;
    const node = await client.get(facts.name, undefined, signal);
    if (node) await describe(node, signal);
    return !isReadyAsWritten(node);
  }

  const change = (next: Partial<RuntimeHealth>): void => {
    const changed = { ...health, ...next };
    const hasDiskChanged = (changed.diskProblem === undefined) !== (health.diskProblem === undefined);
    if (changed.problem === health.problem && changed.runtimeVersion === health.runtimeVersion && !hasDiskChanged)
      return;
    health = changed;
    wake.abort();
  };

  return {
    name: 'node registrar',
    setProblem: (problem) => change({ problem }),
    look() {
      mustAsk = true;
      wake.abort();
    },
    setRuntime: (runtimeVersion) => change({ runtimeVersion }),
    async run(signal) {
      while (!signal.aborted) {
        let waitMs = LOOK_MS;
        change({ diskProblem: deps.diskProblem() });
        if (wake.signal.aborted) wake = new AbortController();
        const isDue = !written || written.health !== health || clock.now() - written.atMs >= REFRESH_MS;
        try {
          if (isDue || (await isOverruled(signal))) await write(signal);
        } catch (err) {
          if (signal.aborted) return;
          mustAsk = true;
          const isRefused = reasonOf(err) === 'Unauthorized';
          if (isRefused && !wasRefused)
            log.error({ message: messageOf(err) }, 'the cluster does not take this node any more');
          else log.debug({ err }, 'failed to write the node');
          wasRefused = isRefused;
          waitMs = RETRY_MS;
        }
        await clock.sleep(waitMs, AbortSignal.any([signal, wake.signal])).catch(() => undefined);
        if (wake.signal.aborted) wake = new AbortController();
      }
    },
  };
}

async function register(
  { client, facts, annotations }: Parameters<typeof createNodeRegistrar>[0],
  signal: AbortSignal,
): Promise<Node> {
  try {
    return await client.create(
      { metadata: { name: facts.name, labels: nodeLabels(facts), annotations: annotations() } },
      signal,
    );
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const node = await client.get(facts.name, undefined, signal);
    if (!node) throw error;
    return node;
  }
}
