// Nodes in this process that give each other images: each has a real image service, the agent's TLS listener and the
// socket by which its runtime asks the others. Needs root (overlay mounts).
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createPeerFinder } from '../../controllers/node-agent/peers/find-peers.ts';
import { createPeerClient, type PeerTls } from '../../controllers/node-agent/peers/peer-client.ts';
import { createPeerNodes } from '../../controllers/node-agent/peers/peer-nodes.ts';
import { createPeerSocket } from '../../controllers/node-agent/peers/peer-socket.ts';
import { createAgentServer, type AgentServerOptions } from '../../controllers/node-agent/server/agent-server.ts';
import type { Node } from '../../crds/builtin.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { createAuthority, issueCertificate, type CertificateRequest, type KeyPair } from '../../lib/pki.ts';
import type { ImageSource } from '../../oci/distribution/create-registry-client.ts';
import { isDigest } from '../../oci/digest.ts';
import { openTestImages, type TestImages } from './image-service.ts';

export interface PeerNode {
  readonly name: string;
  readonly port: number;
  /** Certificate and key as a client. */
  readonly client: KeyPair;
  readonly images: TestImages;
  /** Bytes that its runtime received, by where they came from. */
  readonly received: Record<ImageSource, number>;
  /** Bytes that it sent to others. */
  sentBytes: number;
  /** Pulls as the agent asks for it. */
  pull(reference: string, known?: { first?: string[]; digest?: string; only?: boolean }): Promise<{ id: string }>;
  /** Its agent ends in the middle of what it does. */
  kill(): Promise<void>;
}

export interface PeerNodes {
  readonly authority: KeyPair;
  /** What the API server would say. */
  readonly objects: Map<string, Node>;
  add(name: string): Promise<PeerNode>;
  /** An agent that answers as `behaviour` does. */
  addStranger(name: string, behaviour: (request: IncomingMessage, response: ServerResponse) => void): Promise<void>;
  issue(request: Partial<CertificateRequest>): Promise<KeyPair>;
}

/** No nodes yet; all that are added are gone when the test is over. */
export async function createTestPeers(t: TestContext): Promise<PeerNodes> {
  const authority = await createAuthority('peers', 1, Date.now());
  const objects = new Map<string, Node>();
  const issue = (request: Partial<CertificateRequest>): Promise<KeyPair> =>
    issueCertificate(authority, { commonName: '', usage: 'client', days: 1, now: Date.now(), ...request });
  const serving = (name: string): Promise<KeyPair> => issue({ commonName: `system:node:${name}`, usage: 'server' });
  const announce = (name: string, port: number): void => {
    objects.set(name, {
      metadata: { name, uid: `uid-${name}` },
      status: {
        conditions: [{ type: 'Ready', status: 'True', reason: '', message: '' }],
        addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
        daemonEndpoints: { kubeletEndpoint: { Port: port } },
      },
    } as unknown as Node);
  };
  const list = async () => ({ items: [...objects.values()], resourceVersion: '1' });
  return {
    authority,
    objects,
    issue,
    async addStranger(name, behaviour) {
      const server = createServer({ ...(await serving(name)), ca: authority.cert, requestCert: true }, behaviour);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.after(async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      });
      announce(name, (server.address() as AddressInfo).port);
    },
    async add(name) {
      const received = { peer: 0, mirror: 0, registry: 0 };
      const images = await openTestImages({ onReceived: (source, bytes) => void (received[source] += bytes) });
      const run = mkdtempSync(join(tmpdir(), 'windlass-peers-'));
      const client = await issue({
        ...{ commonName: `system:node:${name}`, organizations: ['system:nodes'], userId: `uid-${name}` },
      });
      const tls: PeerTls = { ...client, ca: authority.cert };
      const nodes = createPeerNodes({ client: { list }, nodeName: name, clock: systemClock });
      const peerClient = createPeerClient(tls);
      const finder = createPeerFinder({ nodes, client: peerClient, clock: systemClock });
      const path = join(run, 'agent', 'peers.sock');
      const socket = createPeerSocket({
        path,
        finder,
        client: peerClient,
        onLook: () => undefined,
        log: silentLogger(),
      });
      await socket.listen();
      const server = createAgentServer({
        tls: { ...(await serving(name)), ca: authority.cert },
        log: silentLogger(),
        admit: nodes.admit,
        findBlob: async (digest: string) => images.service.findBlob(digest),
        onSent: (bytes: number) => void (node.sentBytes += bytes),
      } as unknown as AgentServerOptions);
      const port = await server.listen({ host: '127.0.0.1', port: 0 });
      const stop = new AbortController();
      const parts = [socket.run(stop.signal), server.run(stop.signal)];
      const kill = async (): Promise<void> => {
        stop.abort();
        await Promise.all(parts);
      };
      t.after(async () => {
        await kill();
        peerClient.close();
        await images[Symbol.asyncDispose]();
        rmSync(run, { recursive: true, force: true });
      });
      announce(name, port);
      const node: PeerNode = {
        ...{ name, port, client, images, received, sentBytes: 0, kill },
        pull: (reference, { first = [], digest = '', only = false } = {}) =>
          images.service.pull(reference, undefined, {
            signal: AbortSignal.timeout(60_000),
            peers: { socket: path, first, only, ...(isDigest(digest) ? { digest } : {}) },
          }),
      };
      return node;
    },
  };
}
