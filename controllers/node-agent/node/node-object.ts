// The Node object of this machine: what it has, what it runs, how it is reached. Pure over the facts.
import type { Node, NodeCondition } from '../../../crds/builtin.ts';
import { rfc3339 } from '../../../lib/clock.ts';

export interface NodeFacts {
  readonly name: string;
  readonly hostname: string;
  readonly addresses: readonly string[];
  readonly agentPort: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly architecture: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly agentVersion: string;
}

/** What changes while the agent runs. */
export interface RuntimeHealth {
  /** `name://version`; empty until the runtime has answered. */
  readonly runtimeVersion: string;
  /** Why the node is not ready; undefined when it is. */
  readonly problem: string | undefined;
  /** What the disk lacks; undefined = nothing. */
  readonly diskProblem: string | undefined;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm' };
/** Containers per node; the scheduler counts against it. */
const MAX_CONTAINERS = 1000;

export const nodeLabels = (facts: NodeFacts): Record<string, string> => ({
  'kubernetes.io/hostname': facts.hostname,
  'kubernetes.io/os': 'linux',
  'kubernetes.io/arch': ARCHITECTURES[facts.architecture] ?? facts.architecture,
});

/** The status; conditions keep their transition time while they stay as they are. */
export function nodeStatus(
  facts: NodeFacts,
  old: Node['status'],
  { runtimeVersion, problem, diskProblem }: RuntimeHealth,
  nowMs: number,
): NonNullable<Node['status']> {
  const capacity = {
    cpu: String(facts.cpus),
    memory: `${Math.floor(facts.memoryBytes / 1024)}Ki`,
    'ephemeral-storage': `${Math.floor(facts.diskBytes / 1024)}Ki`,
    pods: String(MAX_CONTAINERS),
  };
  const condition = (type: string, isTrue: boolean, reason: string, message: string): NodeCondition => {
    const status = isTrue ? 'True' : 'False';
    const before = old?.conditions?.find((one) => one.type === type);
    const now = rfc3339(nowMs);
    return {
      type,
      status,
      reason,
      message,
      lastHeartbeatTime: now,
      lastTransitionTime: before?.status === status ? (before.lastTransitionTime ?? now) : now,
    };
  };
  const own: NodeCondition[] = [
    condition('MemoryPressure', false, 'KubeletHasSufficientMemory', 'the agent has sufficient memory available'),
    diskProblem === undefined
      ? condition('DiskPressure', false, 'KubeletHasNoDiskPressure', 'the agent has no disk pressure')
      : condition('DiskPressure', true, 'KubeletHasDiskPressure', diskProblem),
    condition('PIDPressure', false, 'KubeletHasSufficientPID', 'the agent has sufficient PID available'),
    problem === undefined
      ? condition('Ready', true, 'KubeletReady', 'the node agent is posting ready status')
      : condition('Ready', false, 'KubeletNotReady', problem),
  ];
  // Whether it is drained is said by node-lifecycle.
  const others = (old?.conditions ?? []).filter(({ type }) => own.every((one) => one.type !== type));
  return {
    capacity,
    allocatable: capacity,
    conditions: [...own, ...others],
    addresses: [
      ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: facts.hostname },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: facts.agentPort } },
    nodeInfo: {
      machineID: facts.machineId,
      systemUUID: facts.machineId,
      bootID: facts.bootId,
      kernelVersion: facts.kernelVersion,
      osImage: facts.osImage,
      containerRuntimeVersion: runtimeVersion,
      kubeletVersion: facts.agentVersion,
      kubeProxyVersion: facts.agentVersion,
      operatingSystem: 'linux',
      architecture: ARCHITECTURES[facts.architecture] ?? facts.architecture,
    },
  };
}
