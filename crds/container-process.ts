// The parts of a Container that say what its process gets: environment, health check, resources, logs, a node.
import { z } from 'zod';
import { count, integer, list, objectName, port, quantity, seconds, withRules, worded, countSet } from './fields.ts';

const KEY = /^[-._a-zA-Z0-9]+$/;

const keyRef = (what: string) =>
  z.object({
    name: objectName().describe(`Name of the ${what} in the same namespace.`),
    key: z.string().min(1).max(253).regex(KEY).describe(`Key in the ${what}.`),
    optional: z
      .boolean()
      .default(false)
      .describe('Leave the variable out when the key is missing, instead of waiting for it.'),
  });

export const EnvVar = withRules(
  z.object({
    name: z
      .string()
      .min(1)
      .max(4096)
      .regex(/^[ -<>-~]+$/)
      .describe('Name of the variable; anything printable without "=".'),
    value: z
      .string()
      .optional()
      .describe('The value. $(OTHER) is replaced by a variable defined before it; $$ is a plain $.'),
    valueFrom: withRules(
      z.object({
        configMapKeyRef: keyRef('ConfigMap').optional().describe('Takes the value from a ConfigMap.'),
        secretKeyRef: keyRef('Secret').optional().describe('Takes the value from a Secret.'),
        fieldRef: z
          .object({
            fieldPath: z
              .string()
              .max(512)
              .regex(
                /^(metadata\.(name|namespace|uid|labels\['[^']+'\]|annotations\['[^']+'\])|spec\.nodeName|status\.(hostIP|podIP))$/,
              )
              .describe(
                "metadata.name, metadata.namespace, metadata.uid, metadata.labels['key'], metadata.annotations['key'], spec.nodeName, status.hostIP or status.podIP.",
              ),
          })
          .optional()
          .describe('Takes the value from a field of this Container.'),
      }),
      {
        rule: `${countSet('configMapKeyRef', 'secretKeyRef', 'fieldRef')} == 1`,
        message: 'exactly one of configMapKeyRef, secretKeyRef and fieldRef must be set',
      },
    )
      .optional()
      .describe('Where the value comes from. It is read when the container starts.'),
  }),
  {
    rule: '!(has(self.value) && has(self.valueFrom))',
    message: 'value and valueFrom cannot both be set',
    fieldPath: '.valueFrom',
  },
);
export type EnvVar = z.infer<typeof EnvVar>;

const sourceRef = (what: string) =>
  z.object({
    name: objectName().describe(`Name of the ${what} in the same namespace.`),
    optional: z
      .boolean()
      .default(false)
      .describe(`Start without it when the ${what} is missing, instead of waiting for it.`),
  });

export const EnvFrom = withRules(
  z.object({
    prefix: z
      .string()
      .max(253)
      .regex(/^[ -<>-~]*$/)
      .optional()
      .describe('Put in front of every name.'),
    configMapRef: sourceRef('ConfigMap').optional().describe('Every key of this ConfigMap becomes a variable.'),
    secretRef: sourceRef('Secret').optional().describe('Every key of this Secret becomes a variable.'),
  }),
  {
    rule: 'has(self.configMapRef) != has(self.secretRef)',
    message: 'exactly one of configMapRef and secretRef must be set',
  },
);

export const HealthCheck = withRules(
  z.object({
    exec: z
      .object({
        command: list(z.string(), 1024)
          .min(1)
          .describe('The command and its arguments, run inside the container; exit code 0 is healthy.'),
      })
      .optional()
      .describe('Healthy when a command exits with 0.'),
    httpGet: z
      .object({
        path: z
          .string()
          .max(4096)
          .regex(/^\/[!-~]*$/)
          .default('/')
          .describe('Path to request.'),
        port: port().describe('Port of the container.'),
      })
      .optional()
      .describe('Healthy when a GET answers with a status of 200 to 399.'),
    tcpSocket: z
      .object({ port: port().describe('Port of the container.') })
      .optional()
      .describe('Healthy when a TCP connection can be made.'),
    intervalSeconds: seconds(1).default(30).describe('Time from the end of one check to the start of the next.'),
    timeoutSeconds: seconds(1).default(30).describe('A check that takes longer has failed.'),
    retries: integer(1, 1000).default(3).describe('Failures in a row until the container is Unhealthy.'),
    startPeriodSeconds: seconds().default(0).describe('Failures in this time after the start do not count.'),
    startIntervalSeconds: seconds(1).default(5).describe('Time between checks during the start period.'),
    disabled: z.boolean().default(false).describe("Run no check, also not the image's."),
  }),
  {
    rule: `${countSet('exec', 'httpGet', 'tcpSocket')} <= 1`,
    message: 'at most one of exec, httpGet and tcpSocket may be set',
  },
  {
    rule: `!self.disabled || ${countSet('exec', 'httpGet', 'tcpSocket')} == 0`,
    message: 'a disabled health check cannot have exec, httpGet or tcpSocket',
    fieldPath: '.disabled',
  },
);
export type HealthCheck = z.infer<typeof HealthCheck>;

export const Resources = z.object({
  limits: z
    .object({
      cpu: quantity().optional().describe('CPU time in cores: 2, 0.5 as "500m". More is throttled.'),
      memory: quantity().optional().describe('Memory in bytes: "64Mi". More ends the container with reason OOMKilled.'),
      'ephemeral-storage': quantity()
        .optional()
        .describe(
          'Bytes of its writable layer: "2Gi". Where the disk of the node has project quotas a write beyond it fails (EDQUOT, on xfs ENOSPC); elsewhere the container is ended with reason Evicted, and its layer deleted. 0 = no limit, also where the node has a default.',
        ),
      inodes: integer(0, 2_147_483_647)
        .optional()
        .describe('Files, folders and links of its writable layer; kept as ephemeral-storage is.'),
      pids: integer(1, 4_194_304).optional().describe('Processes and threads at the same time.'),
    })
    .optional()
    .describe('What the container may use at most; a missing entry is unlimited.'),
  requests: z
    .object({
      cpu: quantity()
        .optional()
        .describe('CPU time in cores that is set aside on the node; also its share when the node is busy.'),
      memory: quantity().optional().describe('Memory in bytes that is set aside on the node.'),
    })
    .optional()
    .describe('What the scheduler sets aside for the container on its node.'),
});
export type Resources = z.infer<typeof Resources>;

export const Logging = z.object({
  maxSize: quantity().default('10Mi').describe('A log file that reaches this size is rotated.'),
  maxFiles: integer(1, 1000).default(5).describe('How many files are kept, the current one included.'),
});

export const Toleration = withRules(
  z.object({
    key: z
      .string()
      .max(317)
      .optional()
      .describe('Key of the taint; absent with operator Exists tolerates every taint.'),
    operator: z.enum(['Exists', 'Equal']).default('Equal').describe('How value is compared.'),
    value: z.string().max(63).optional().describe('Value of the taint, for operator Equal.'),
    effect: z
      .enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute'])
      .optional()
      .describe('Effect of the taint; absent = all.'),
    tolerationSeconds: seconds().optional().describe('How long a NoExecute taint is tolerated; absent = for ever.'),
  }),
  {
    rule: "has(self.key) || self.operator == 'Exists'",
    message: 'must be Exists when key is absent',
    fieldPath: '.operator',
  },
  {
    rule: "self.operator == 'Equal' || !has(self.value)",
    message: 'must be absent when operator is Exists',
    fieldPath: '.value',
  },
);
export type Toleration = z.infer<typeof Toleration>;

const CONSTRAINT =
  '^(node[.](id|hostname|role|name|platform[.](os|arch)|labels[.][-._/a-zA-Z0-9]+)|engine[.]labels[.][-._/a-zA-Z0-9]+) *(==|!=) *[^ =!].*$';
export const Placement = z.object({
  constraints: list(
    worded(CONSTRAINT, 512, 'must be a condition on the node, e.g. node.labels.zone == east or node.role != manager'),
    64,
  )
    .optional()
    .describe(
      'Conditions on the node, all of which must hold: "node.labels.zone == east", "node.role != manager". Subjects: node.id, node.name, node.hostname, node.role, node.platform.os, node.platform.arch, node.labels.<key>.',
    ),
  spread: list(z.string().min(1).max(317), 8)
    .optional()
    .describe('Node label keys over whose values the containers are spread evenly, most important first.'),
  maxPerNode: count()
    .optional()
    .describe('How many containers of the same Service one node may have; absent or 0 = any number.'),
});
export type Placement = z.infer<typeof Placement>;
