// Composes the shim of one instance from its parts, without listening.
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../lib/clock.ts';
import { WindlassError } from '../lib/errors.ts';
import { kernelNames, paths, type Instance } from '../lib/instance.ts';
import type { Logger } from '../lib/log.ts';
import type { RunPart } from '../lib/run-all.ts';
import { openCgroups } from './cgroups/cgroups.ts';
import { createMovePrimer, noMoves } from './cgroups/move-primer.ts';
import { mountIdMapped } from './host/idmapped-mount.ts';
import { bindMount, mountTmpfs, umount, umountMeanwhile, MNT } from './host/mount.ts';
import { createSandboxNamespaces, pinNamespace, setHostname, unpinNamespace } from './host/namespaces.ts';
import type { Spawner } from './host/spawn.ts';
import { createUserNamespace } from './host/user-namespace.ts';
import type { ImageService } from './images/image-service.ts';
import type { NodeNetwork } from './network/node-network.ts';
import { createPodNetwork } from './network/pod-network.ts';
import { ownCapabilities } from './oci-runtime/capabilities.ts';
import { createFilterCache } from './oci-runtime/filter-cache.ts';
import { canPassThrough, readConmonVersion } from './oci-runtime/conmon.ts';
import { createKnownSpecs } from './oci-runtime/known-specs.ts';
import { createReadyShell } from './oci-runtime/ready-shell.ts';
import { createRelaxedTimers, exactTimers } from './oci-runtime/relaxed-timers.ts';
import { findOciRuntime, findProgram, openOciRuntime, type OciRuntime } from './oci-runtime/runtime.ts';
import { createSeccompProfiles } from './oci-runtime/seccomp-choice.ts';
import { createStandInLibrary } from './oci-runtime/stand-in-library.ts';
import type { RuntimeRights } from './oci-runtime/try-rights.ts';
import { findOrphans, recordExit } from './rpc/container-exit.ts';
import { createSandboxPool } from './pool/sandbox-pool.ts';
import type { SandboxHost, Shim } from './rpc/deps.ts';
import { createEventHub } from './store/events.ts';
import { openExitFiles } from './store/exit-watcher.ts';
import { createKeyedQueue, createSharedCalls } from '../lib/keyed-queue.ts';
import { openRecordStore } from './store/record-store.ts';
import { createTurns } from './store/turns.ts';

export interface ShimOptions {
  readonly instance: Instance;
  readonly log: Logger;
  readonly images: ImageService;
  readonly network: NodeNetwork;
  /** See createPodNetwork(). */
  readonly podCidr: string;
  /** How many sandboxes are kept ready. */
  readonly sandboxPool: number;
  readonly storage: Shim['storage'];
  /** See chooseOciRuntime(). */
  readonly ociRuntime: string;
  readonly rights: RuntimeRights;
  readonly spawner: Spawner;
  readonly metricsAddress: string;
  readonly openStreamUrl: Shim['openStreamUrl'];
}

/** The shim's parts around its records; nothing is recovered or watched yet. */
export function openShim(options: ShimOptions): Shim {
  const { instance, log, spawner } = options;
  const state = paths.shimState(instance);
  // Others may pass through (a container's user reads its /etc/hosts by bind mount only), never list.
  mkdirSync(instance.run, { recursive: true, mode: 0o711 });
  mkdirSync(state, { recursive: true, mode: 0o711 });
  const conmonPath = findProgram('conmon');
  if (conmonPath === undefined) throw new WindlassError('Unavailable', 'conmon is not installed');
  const cgroups = openCgroups();
  const cgroupParent = kernelNames.cgroupParent(instance);
  cgroups.create(cgroupParent);
  const standIn = createStandInLibrary(
    [conmonPath, findOciRuntime(options.ociRuntime)],
    paths.standInLibrary(instance),
  );
  const openRuntime = (root: string): OciRuntime =>
    openOciRuntime(options.ociRuntime, root, spawner, {
      mountFolders: [state, paths.snapshots(instance)],
      env: standIn.env,
    });
  const runtime = openRuntime(join(state, 'runtime'));
  const host: SandboxHost = {
    createSandboxNamespaces,
    createUserNamespace: (request) => createUserNamespace(spawner, request),
    setHostname,
    bindMount: (source, target) => bindMount(source, target),
    mountIdMapped,
    pinNamespace,
    unpinNamespace,
    mountTmpfs: (target, data) => mountTmpfs(target, data),
    unmount: (target) => umount(target, MNT.detach),
    unmountTogether: (targets) => umountMeanwhile(targets, MNT.detach),
  };
  const store = openRecordStore(state, (file, error) =>
    log.error({ file, err: error }, 'a record is damaged: put aside'),
  );
  const sandboxes = join(state, 's');
  mkdirSync(sandboxes, { recursive: true, mode: 0o711 });
  return {
    instance,
    log,
    clock: systemClock,
    store,
    events: createEventHub(),
    exits: openExitFiles(join(state, 'exits')),
    queue: createKeyedQueue(),
    turns: createTurns(),
    shared: createSharedCalls(),
    host,
    spawner,
    runtime,
    openRuntime,
    filters: createFilterCache(runtime.readFilter),
    profiles: createSeccompProfiles(),
    specs: createKnownSpecs(),
    conmonPath,
    execMonitorPath: runtime.kind === 'runc' && canPassThrough(readConmonVersion(conmonPath)) ? conmonPath : undefined,
    execShell: createReadyShell(spawner, runtime.execNamespace),
    cgroups,
    cgroupParent,
    moves: runtime.movesProcesses ? createMovePrimer() : noMoves,
    timers: runtime.kind === 'runc' ? createRelaxedTimers() : exactTimers,
    images: options.images,
    network: options.network,
    pool: createSandboxPool({ host, network: options.network, log, store }, sandboxes, options.sandboxPool),
    storage: options.storage,
    podNetwork: createPodNetwork(instance, options.network, options.podCidr),
    rights: options.rights,
    hasSwapLimit: cgroups.version === 'v2' || existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes'),
    ownCapabilities: ownCapabilities(),
    openStreamUrl: options.openStreamUrl,
    metricsAddress: options.metricsAddress,
  };
}

/** Notices containers that end, and monitors that were killed. */
export function watchExits(shim: Shim): RunPart {
  return {
    name: 'exits',
    run: (signal) =>
      shim.exits.run(
        {
          onExit(containerId) {
            recordExit(shim, containerId).catch((error: unknown) =>
              shim.log.error({ container: containerId, err: error }, 'failed to record the end of a container'),
            );
          },
          onTick: () => findOrphans(shim),
          onUnwatched: (error) =>
            shim.log.warn({ err: error }, 'the folder of exit files cannot be watched: it is read ten times a second'),
        },
        signal,
      ),
  };
}
