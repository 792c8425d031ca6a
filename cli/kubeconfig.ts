import { stringify } from 'yaml';
import type { KeyPair } from '../lib/pki.ts';

/** A kubeconfig with everything embedded: it can be copied to another folder or machine. */
export function renderKubeconfig(options: { server: string; ca: string; user: string; client: KeyPair }): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'windlass',
    clusters: [
      { name: 'windlass', cluster: { server: options.server, 'certificate-authority-data': base64(options.ca) } },
    ],
    users: [
      {
        name: options.user,
        user: { 'client-certificate-data': base64(options.client.cert), 'client-key-data': base64(options.client.key) },
      },
    ],
    contexts: [{ name: 'windlass', context: { cluster: 'windlass', user: options.user } }],
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
