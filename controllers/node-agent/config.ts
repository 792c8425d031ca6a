// Options of the node agent.
import { hostname } from 'node:os';
import { z } from 'zod';
import { DEFAULT_HOME, DEFAULT_RUN } from '../../lib/instance.ts';

export const NodeAgentConfig = z.object({
  home: z.string().default(DEFAULT_HOME),
  run: z.string().default(DEFAULT_RUN),
  logLevel: z.string().default('info'),
  metricsListen: z.string().default('127.0.0.1:0'),
  kubeconfig: z.string().optional(),
  nodeName: z.string().default(hostname().toLowerCase()),
  listen: z.string().default('127.0.0.1:0'),
  criSocket: z.string().optional(),
});
export type NodeAgentConfig = z.infer<typeof NodeAgentConfig>;
