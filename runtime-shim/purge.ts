// Removes everything an instance has on this host, found from the kernel alone: no record is needed, so it works after
// any crash. Run by `windlass down --purge` when no process of the instance is left.
import { readdirSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { loadConfig } from '../lib/config.ts';
import { messageOf } from '../lib/errors.ts';
import { describeInstance, kernelNames, type Instance } from '../lib/instance.ts';
import { endProcess, identifyProcess, type ProcessIdentity } from '../lib/process-identity.ts';
import { openCgroups } from './cgroups/cgroups.ts';
import { umountTree } from './host/mount.ts';
import { readNft } from './host/nft.ts';
import { deleteLink, listLinks, openRtnetlink } from './host/rtnetlink.ts';
import { removeIngressRoutes } from './network/ingress-routes.ts';

const STEP_TIMEOUT_MS = 30_000;
const CONMON_GRACE_MS = 2_000;

/** Ends containers and conmons, then removes mounts, links, routing rules, tables and cgroups; each step succeeds when nothing is there. */
export async function purgeInstance(instance: Instance): Promise<void> {
  const cgroups = openCgroups();
  const parent = kernelNames.cgroupParent(instance);
  await cgroups.killAll(parent, AbortSignal.timeout(STEP_TIMEOUT_MS));
  // A conmon sees its container end and writes the exit file; one that is stuck is ended, and so is an OCI runtime that was
  // cut short.
  await Promise.all(findMonitors(instance).map((monitor) => endProcess(monitor, CONMON_GRACE_MS)));
  for (const folder of [instance.run, instance.home]) umountTree(folder);
  deleteLinks(instance);
  for (const family of ['inet', 'ip', 'ip6', 'bridge', 'arp']) {
    await readNft(['delete', 'table', family, kernelNames.nftTable(instance)]);
  }
  cgroups.remove(parent);
}

function deleteLinks(instance: Instance): void {
  using socket = openRtnetlink();
  removeIngressRoutes(instance, socket);
  for (const link of listLinks(socket, kernelNames.linkPrefix(instance))) deleteLink(socket, link.name);
}

function findMonitors(instance: Instance): ProcessIdentity[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const [program = '', ...args] = readCommandLine(name);
      const isOurs =
        /(^|\/)(conmon|runc|crun)$/.test(program) && args.some((argument) => argument.startsWith(`${instance.run}/`));
      const identity = isOurs ? identifyProcess(Number(name)) : undefined;
      return identity ? [identity] : [];
    });
}

function readCommandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    // The process ended between being listed and being read.
    return [];
  }
}

if (import.meta.main) {
  try {
    const options = z.object({ home: z.string(), run: z.string() });
    const { config } = loadConfig(options, { argv: process.argv.slice(2), env: process.env });
    await purgeInstance(describeInstance(config.home, config.run));
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exitCode = 1;
  }
}
