import { stringify } from 'yaml';
import type { KeyPair } from '../lib/pki.ts';

/**
 * A kubeconfig with everything embedded: it can be copied to another folder or machine. Each of `others` is a context named
 * by its address, for when the server of the first is away.
 */
export function renderKubeconfig(options: {
  server: string;
  others?: readonly string[];
  ca: string;
  user: string;
  client: KeyPair;
}): string {
  const others = (options.others ?? []).map((server) => ({ name: new URL(server).host, server }));
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'windlass',
    clusters: [{ name: 'windlass', server: options.server }, ...others].map(({ name, server }) => ({
      name,
      cluster: { server, 'certificate-authority-data': base64(options.ca) },
    })),
    users: [
      {
        name: options.user,
        user: { 'client-certificate-data': base64(options.client.cert), 'client-key-data': base64(options.client.key) },
      },
    ],
    contexts: ['windlass', ...others.map(({ name }) => name)].map((name) => ({
      name,
      context: { cluster: name, user: options.user },
    })),
  });
}

/** The kubeconfig of a node that joined: it names the files beside it, which the agent renews. */
export function renderFileKubeconfig(server: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'windlass',
    clusters: [{ name: 'windlass', cluster: { server, 'certificate-authority': 'ca.crt' } }],
    users: [{ name: 'node', user: { 'client-certificate': 'node.crt', 'client-key': 'node.key' } }],
    contexts: [{ name: 'windlass', context: { cluster: 'windlass', user: 'node' } }],
  });
}
