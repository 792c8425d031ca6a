// The options of the API server's process.
import { z } from 'zod';
import { quantityFlag } from '../lib/quantity-flag.ts';
import { DEFAULT_HOME, DEFAULT_RUN } from '../lib/instance.ts';

export const ApiServerConfig = z.object({
  home: z.string().default(DEFAULT_HOME),
  run: z.string().default(DEFAULT_RUN),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
  listen: z.string().default('127.0.0.1:6443'),
  /** Accepted like every process does; the API server serves its metrics on its own listener. */
  metricsListen: z.string().optional(),
  etcdServers: z
    .string()
    .min(1)
    .transform((text) => text.split(',').map((each) => each.trim()))
    .refine((hosts) => hosts.every((host) => /^https?:\/\/[^/\s]+$/.test(host)), {
      message: 'want a list of URLs such as http://127.0.0.1:2379,http://127.0.0.1:12379',
    }),
  etcdPrefix: z
    .string()
    .regex(/^\/[^\s]+$/, 'want an absolute path such as /windlass')
    .default('/windlass'),
  /** PEM files for etcd's TLS: its authority, and the certificate and key that this server shows. */
  etcdCa: z.string().optional(),
  etcdCert: z.string().optional(),
  etcdKey: z.string().optional(),
  etcdMetrics: z.string().optional(),
  /** CSV file with bearer tokens: token,user,uid,"group1,group2". */
  tokenAuthFile: z.string().optional(),
  /** Where other members reach the etcd of this server; absent = it is somebody else's, whom no server joins. */
  etcdPeerUrl: z.string().optional(),
  /** Largest archive that is taken, and how much all of a namespace may have together. */
  archiveMaxSize: quantityFlag('4Gi'),
  archiveQuota: quantityFlag('20Gi'),
  /** Where snapshots of the store go; absent or an interval of 0 = none are taken. */
  snapshotFolder: z.string().optional(),
  snapshotIntervalSeconds: z.coerce.number().int().min(0).default(0),
  snapshotKeep: z.coerce.number().int().min(1).default(8),
});
export type ApiServerConfig = z.infer<typeof ApiServerConfig>;
