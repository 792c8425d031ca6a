// Debian's containerd through CRI, on folders and in a net namespace of its own, with CNI's bridge plugin.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCriClient } from '../../cri/client.ts';
import { findProgram } from '../../cli/preflight.ts';
import { makeImage, writeOciLayout } from '../../test/support/images.ts';
import { waitFor } from '../../test/support/wait.ts';
import { createCriCalls } from './cri.ts';
import {
  IMAGE_FILES,
  makeNetns,
  makeRunFolder,
  PeerMissing,
  removeFolder,
  type Peer,
  type SharedInput,
} from './peer.ts';

const IMAGE = 'bench.local/busybox:1';
const PLUGIN_FOLDERS = ['/usr/lib/cni', '/opt/cni/bin'];

export async function createContainerd(input: SharedInput): Promise<Peer> {
  for (const program of ['containerd', 'containerd-shim-runc-v2', 'ctr'])
    if (!findProgram(program, process.env['PATH'])) throw new PeerMissing(`${program} is not installed`);
  const plugins = PLUGIN_FOLDERS.find((path) => existsSync(join(path, 'bridge')));
  if (plugins === undefined) throw new PeerMissing('CNI plugins are not installed');
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-containerd-'));
  const run = makeRunFolder('containerd');
  const netns = makeNetns('containerd');
  const address = `${folder}/containerd.sock`;
  mkdirSync(`${folder}/cni`);
  writeFileSync(`${folder}/cni/10-bench.conflist`, JSON.stringify(cniConfig(`${folder}/ipam`)));
  writeFileSync(`${folder}/config.toml`, daemonConfig({ folder, run, address, plugins }));
  const [file = '', ...args]: string[] = [...netns.prefix, 'containerd', '--config', `${folder}/config.toml`];
  const daemon = spawn(file, args, { stdio: 'ignore' });
  const cri = createCriClient({ socketPath: address });
  const isUp = (): Promise<boolean> =>
    cri.runtime.status({}, { timeoutMs: 1000 }).then(
      ({ status }) => status?.conditions.every((condition) => condition.status) ?? false,
      () => false,
    );
  await waitFor(isUp, { timeoutMs: 60_000, what: 'containerd' });
  const ctr = (...command: string[]): void =>
    void execFileSync('ctr', ['--address', address, '--namespace', 'k8s.io', ...command], { stdio: 'ignore' });
  const layout = `${folder}/image`;
  mkdirSync(layout);
  // The same image serves as the pause container that containerd keeps in every sandbox.
  writeOciLayout(layout, makeImage({ layers: [IMAGE_FILES], config: { Cmd: ['/bin/sleep', '1000000'] } }), IMAGE);
  execFileSync('tar', ['-cf', `${folder}/image.tar`, '-C', layout, '.']);
  ctr('images', 'import', `${folder}/image.tar`);
  return {
    name: 'containerd CRI',
    ...createCriCalls(cri, input, { image: IMAGE, logs: `${folder}/logs`, annotations: {} }),
    async close() {
      cri[Symbol.dispose]();
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      await ended;
      netns.close();
      for (const path of [run, folder]) removeFolder(path);
    },
  };
}

function cniConfig(ipamFolder: string): object {
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.213.0.0/16' }]], routes: [{ dst: '0.0.0.0/0' }] };
  return {
    cniVersion: '0.4.0',
    name: 'bench',
    plugins: [
      {
        ...{ type: 'bridge', bridge: 'bench0', isGateway: true, ipMasq: true },
        ipam: { ...ipam, dataDir: ipamFolder },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

const daemonConfig = ({ folder, run, address, plugins }: Record<string, string>): string => `
version = 2
root = "${folder}/root"
state = "${run}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "${address}"
[ttrpc]
  address = "${address}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${plugins}"
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`;
