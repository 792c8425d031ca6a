// The flags that say which instance a command means and where it listens.
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { parseHostPort } from '../lib/host-port.ts';
import { parseNodeIps } from '../lib/node-address.ts';
import { DEFAULT_HOME, DEFAULT_RUN, describeInstance, type Instance } from '../lib/instance.ts';

const passes =
  (parse: (text: string) => unknown) =>
  (text: string): boolean => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };

const listen = z.string().refine(passes(parseHostPort), 'want host:port, e.g. 127.0.0.1:6443');

const folder = z
  .string()
  .min(1, 'want a folder')
  .transform((path) => resolve(path));

export const instanceOptions = z.object({
  home: folder.default(DEFAULT_HOME),
  run: folder.default(DEFAULT_RUN),
});

export const upOptions = instanceOptions.extend({
  // Clients are told the address before anything listens there.
  listen: listen.refine((text) => !text.endsWith(':0'), 'want a port: not 0').default('127.0.0.1:6443'),
  registryListen: listen.default('127.0.0.1:5050'),
  metricsListen: listen.default('127.0.0.1:0'),
  etcdServers: z.string().optional(),
  nodeName: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'want a lower-case host name')
    .default(() => hostname().toLowerCase()),
  nodeIp: z
    .string()
    .refine(
      passes(parseNodeIps),
      'want an address by which other machines reach this one, or an IPv4 and an IPv6 address with a comma between them',
    )
    .optional(),
  ociRuntime: z.string().default('auto'),
  criSocket: folder.optional(),
  registriesConfig: z.string().optional(),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  detach: z.boolean().default(false),
  timeoutSeconds: z.coerce.number().int().min(1).default(60),
});
export type UpOptions = Readonly<z.infer<typeof upOptions>>;

/** The instance that `--home` and `--run` name. */
export const instanceOf = (options: { home: string; run: string }): Instance =>
  describeInstance(options.home, options.run);

export const instanceFlags = [
  { flag: '--home DIR', text: `state folder (default ${DEFAULT_HOME})` },
  { flag: '--run DIR', text: `run folder: sockets and bundles (default ${DEFAULT_RUN})` },
] as const;
