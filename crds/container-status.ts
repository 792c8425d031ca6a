// What is observed of a Container. Only the node agent writes it.
import { z } from 'zod';
import { count, digest, integer, list, listMap, observedAddress, observedMac, statusBase, time } from './fields.ts';

export const CONTAINER_PHASES = ['Pending', 'Created', 'Running', 'Paused', 'Succeeded', 'Failed', 'Unknown'] as const;
export type ContainerPhase = (typeof CONTAINER_PHASES)[number];

export const ContainerStatus = z.object({
  phase: z.enum(CONTAINER_PHASES).optional().describe('Where the container is in its life.'),
  reason: z
    .string()
    .max(1024)
    .optional()
    .describe('Why it is in this phase, as one word: Completed, Error, OOMKilled, BackOff, Unschedulable, ...'),
  message: z.string().max(32768).optional().describe('Why it is in this phase, as a sentence.'),
  nodeName: z.string().optional().describe('The node it runs on.'),
  hostIP: observedAddress().optional().describe('Address of that node.'),
  containerID: z.string().optional().describe('Id of the container at the runtime; a new one after each replacement.'),
  sandboxID: z.string().optional().describe('Id of its sandbox (the namespaces) at the runtime.'),
  image: z.string().optional().describe('The image reference, written out in full.'),
  imageDigest: digest().optional().describe('Digest of the image it runs.'),
  specHash: z
    .string()
    .optional()
    .describe('Hash of the part of the spec that the container behind this object was made from.'),
  observedRestartedAt: z.string().optional().describe('The spec.restartedAt that has been acted upon.'),
  networks: listMap(
    z.object({
      name: z.string().describe('The Network.'),
      ipv4Address: observedAddress().optional().describe('Its address there.'),
      macAddress: observedMac().optional().describe('Its hardware address there.'),
      gateway: observedAddress().optional().describe('Gateway of the network.'),
      ipv6Address: observedAddress().optional().describe('Its IPv6 address there.'),
      ipv6Gateway: observedAddress().optional().describe('IPv6 gateway of the network.'),
    }),
    ['name'],
    32,
  )
    .optional()
    .describe('The networks it is on.'),
  ports: list(
    z.object({
      containerPort: integer(1, 65535).describe('Port of the container.'),
      protocol: z.enum(['TCP', 'UDP']).describe('Transport protocol.'),
      hostPort: integer(1, 65535).describe('Port of the node.'),
      hostIP: observedAddress().optional().describe('Address of the node; absent = all.'),
    }),
    2048,
  )
    .optional()
    .describe('What is really published.'),
  mounts: listMap(
    z.object({
      mountPath: z.string().describe('Where in the container.'),
      type: z
        .enum(['Volume', 'Anonymous', 'HostPath', 'Tmpfs', 'ConfigMap', 'Secret', 'Image'])
        .describe('What is mounted.'),
      name: z
        .string()
        .optional()
        .describe('Name of the volume, ConfigMap or Secret; for an anonymous volume its generated name.'),
      source: z.string().optional().describe('Path on the node.'),
      readOnly: z.boolean().optional().describe('Whether it is read-only.'),
    }),
    ['mountPath'],
    1024,
  )
    .optional()
    .describe('What is mounted.'),
  startedAt: time().optional().describe('When the process was last started.'),
  finishedAt: time().optional().describe('When it last ended.'),
  exitCode: z.int().optional().describe('Its exit code; 128 plus the number of the signal that killed it.'),
  restartCount: count().optional().describe('How often it was started again.'),
  nextRestartAt: time().optional().describe('With reason BackOff: when it is tried again.'),
  lastTermination: z
    .object({
      containerID: z.string().optional().describe('Id of that container at the runtime.'),
      exitCode: z.int().describe('Its exit code.'),
      reason: z.string().optional().describe('Completed, Error, OOMKilled, Unhealthy, ...'),
      startedAt: time().optional().describe('When it started.'),
      finishedAt: time().optional().describe('When it ended.'),
    })
    .optional()
    .describe('How the run before this one ended.'),
  health: z
    .object({
      status: z.enum(['Starting', 'Healthy', 'Unhealthy']).describe('What the health check says.'),
      failingStreak: count().describe('Failures in a row.'),
      output: z.string().max(4096).optional().describe('What the last check printed.'),
    })
    .optional()
    .describe('State of the health check, where there is one.'),
  ...statusBase('Scheduled, ImageReady, VolumesReady, NetworkReady and Ready'),
});
export type ContainerStatus = z.infer<typeof ContainerStatus>;
