import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerConfig, ContainerId, CreateContainerRequest, ImageSpec, Mount } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { openDeadline } from '../../lib/deadline.ts';
import { isNotFound, WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import { identifyProcess } from '../../lib/process-identity.ts';
import { toWritableResources, type WritableResources } from '../cgroups/resources.ts';
import type { ImageRecord } from '../images/image-service.ts';
import { bundleFiles, createByConmon } from '../oci-runtime/conmon.ts';
import { withoutNull } from '../oci-runtime/harmless-stdio.ts';
import { prepareLogFile } from '../oci-runtime/log-file.ts';
import { stringifySpec, type OciSpec } from '../oci-runtime/oci-spec.ts';
import type { CreationPaths } from '../oci-runtime/runtime-command.ts';
import { resolveInRoot } from '../oci-runtime/rooted-path.ts';
import { findProgram } from '../oci-runtime/runtime.ts';
import { stopSignalNumber } from '../oci-runtime/signals.ts';
import { buildSpec, type PlannedSpec } from '../oci-runtime/spec.ts';
import { planSysctls } from '../oci-runtime/sysctls.ts';
import { asFolderError } from '../store/record-file.ts';
import { containerKey, type ContainerRecord, type SandboxRecord } from '../store/records.ts';
import { requireDiskSpace } from '../storage/disk-reserve.ts';
import { layerLimitsOf } from '../storage/layer-limits.ts';
import { groupsOf, pidsLimitOf, tmpfsOf, ulimitsOf, wantsInit } from './annotations.ts';
import { checkTexts } from './check-texts.ts';
import type { Shim } from './deps.ts';
import { publishEvent } from './events.ts';
import { containersOf, getSandbox } from './lookup.ts';
import { checkLinkFreeSources } from './link-free-sources.ts';
import { refuseForeignContainerParts } from './refuse-foreign.ts';
import { requireFreeRootFilesystem, rootFilesystemId } from './root-filesystem.ts';
import { checkPidNamespace, planPidNamespace, type PidNamespace } from './pid-namespace.ts';
import { teardownContainer, viewHolder } from './teardown.ts';
import { mapMounts, placeRoot, rootOwnerOf, type MappedMount } from './user-namespace.ts';

/** What a fork bomb may grow to where nobody said. */
const DEFAULT_PIDS_LIMIT = 4096;
const CREATE_MS = 120_000;
/** Init programs of Debian, static: they run in any image. */
const INIT_PROGRAMS = ['catatonit', 'tini-static', 'docker-init'];

/** Creates a container up to the point where its program would run, or returns the one of that name. */
export async function createContainer(
  shim: Shim,
  request: CreateContainerRequest,
  { signal }: CallContext,
): Promise<ContainerId> {
  const sandbox = getSandbox(shim, request.podSandboxId);
  shim.moves.prime();
  const config = requireField(request.config, 'config');
  requireField(requireField(config.metadata, 'config.metadata').name, 'config.metadata.name');
  refuseForeignContainerParts(config);
  checkTexts(config, 'config');
  const imageName = requireField(requireField(config.image, 'config.image').image, 'config.image.image');
  if (imageName.startsWith('/')) {
    throw new WindlassError('Unimplemented', `config.image.image: ${imageName}: a checkpoint cannot be restored`);
  }
  const key = containerKey(sandbox.id, config);
  return shim.shared.run(`container ${key}`, signal, async () => {
    if (sandbox.phase !== 'ready') throw new WindlassError('Conflict', `sandbox ${sandbox.id} is not ready`);
    const existing = containersOf(shim, sandbox.id).find((record) => containerKey(sandbox.id, record.config) === key);
    if (existing && existing.phase !== 'creating' && existing.phase !== 'removing') return { containerId: existing.id };
    if (existing) await shim.queue.run(existing.id, () => teardownContainer(shim, existing.id));
    requireDiskSpace(shim.instance.home, shim.storage.reserve, 'a container');
    const image = shim.images.find(imageName);
    if (!image) throw new WindlassError('NotFound', `image ${imageName} is not present on this node`);
    const id = randomBytes(32).toString('hex');
    return shim.queue.run(id, () => makeContainer(shim, { id, sandbox, config, image }));
  });
}

interface Making {
  readonly id: string;
  readonly sandbox: SandboxRecord;
  readonly config: ContainerConfig;
  readonly image: ImageRecord;
}

async function makeContainer(shim: Shim, making: Making): Promise<ContainerId> {
  const { id, sandbox } = making;
  using deadline = openDeadline(CREATE_MS);
  await shim.turns.next();
  const record = planRecord(shim, making);
  requireFreeRootFilesystem(shim, record);
  shim.store.containers.save(record);
  try {
    const { planned, pidNamespace, mapped } = await writeBundle(shim, making, record);
    const sources = [...planned.spec.mounts, ...mapped.values()].map(({ source }) => source);
    checkLinkFreeSources(making.config, new Set(sources));
    for (const warning of planned.warnings) shim.log.warn({ container: id }, warning);
    const { config } = making;
    await shim.turns.next();
    shim.moves.prime();
    using command = shim.runtime.command(planned.spec.linux, creationPaths(planned.spec, record));
    // Where conmon gives it a pipe to read from, there is no need, and that must stay.
    const isNull = shim.runtime.kind === 'crun' && sandbox.namespaces.user && (config.tty || !config.stdin);
    const runtime = isNull ? withoutNull(command.path, command.args, { terminal: config.tty }) : command;
    const pid = await createByConmon(
      shim.spawner,
      {
        conmonPath: shim.conmonPath,
        runtimePath: runtime.path,
        runtimeArgs: runtime.args,
        runtimeEnv: command.env,
        mountNamespace: command.mountNamespace,
        containerId: id,
        name: config.metadata?.name ?? id,
        bundle: record.bundle,
        exitDirectory: shim.exits.folder,
        logPath: record.logPath,
        terminal: config.tty,
        stdin: config.stdin,
        leaveStdinOpen: config.stdin && !config.stdinOnce,
        onStart: shim.timers.relax,
      },
      deadline.signal,
    );
    // The runtime is done, and what it made waits to be started.
    const conmonPid = Number(readQuietly(bundleFiles.conmonPid(record.bundle)));
    for (const made of [pid, conmonPid]) if (made > 0) shim.timers.restore(made);
    await shim.turns.next();
    command.setLimits();
    shim.filters.learn(id, planned.spec);
    shim.specs.note(record.bundle, planned.spec);
    checkPidNamespace(pidNamespace, pid);
    const created = describeCreated(shim, record, planned, { pid, conmonPid });
    // A stop or remove of the sandbox that came meanwhile did not see this container.
    if (shim.store.sandboxes.get(sandbox.id)?.phase !== 'ready') {
      throw new WindlassError('Conflict', `sandbox ${sandbox.id} was stopped meanwhile`);
    }
    shim.store.containers.save(created);
    publishEvent(shim, created, 'CONTAINER_CREATED_EVENT');
    return { containerId: id };
  } catch (error) {
    try {
      await teardownContainer(shim, id);
    } catch (undoError) {
      shim.log.warn({ container: id, err: undoError }, 'failed to undo a container: its record stays for the next try');
    }
    throw asFolderError(record.bundle, error);
  }
}

function planRecord(shim: Shim, { id, sandbox, config, image }: Making): ContainerRecord {
  return {
    id,
    sandboxId: sandbox.id,
    phase: 'creating',
    config: { ...config, envs: [], mounts: config.mounts.map((mount) => withImageRef(shim, mount)) },
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    bundle: join(paths.shimState(shim.instance), 'b', id),
    cgroupsPath: `${cgroupParentOf(shim, sandbox)}/${id}`,
    createdAtMs: shim.clock.now(),
    startedAtMs: 0,
    finishedAtMs: 0,
    exitCode: 0,
    reason: '',
    message: '',
    stopSignal: stopSignalNumber(config.stopSignal, image.config.config.StopSignal),
    resources: config.linux?.resources ?? null,
    ...logPathOf(sandbox, config),
  };
}

/** The status of an image mount says which image that was: the id that the pull had returned. */
function withImageRef(shim: Shim, mount: Mount): Mount {
  const image = mount.image && shim.images.find(mount.image.image);
  return image ? { ...mount, image: { ...(mount.image as ImageSpec), imageRef: image.id } } : mount;
}

function logPathOf(sandbox: SandboxRecord, config: ContainerConfig): { logPath?: string } {
  if (config.logPath === '' || sandbox.config.logDirectory === '') return {};
  return { logPath: prepareLogFile(sandbox.config.logDirectory, config.logPath) };
}

function cgroupParentOf(shim: Shim, sandbox: SandboxRecord): string {
  const parent = sandbox.config.linux?.cgroupParent ?? '';
  if (parent === '') return shim.cgroupParent;
  if (!/^\/(?:[\w.@:-]+\/?)+$/.test(parent) || parent.split('/').some((part) => part === '..' || part === '.')) {
    throw new WindlassError('Invalid', `linux.cgroup_parent: invalid path ${JSON.stringify(parent)}`);
  }
  return parent.replace(/\/$/, '');
}

interface Bundle {
  readonly planned: PlannedSpec;
  readonly pidNamespace: PidNamespace;
  readonly mapped: ReadonlyMap<number, MappedMount>;
}

async function writeBundle(shim: Shim, making: Making, record: ContainerRecord): Promise<Bundle> {
  const { id, sandbox, config, image } = making;
  mkdirSync(record.bundle, { recursive: true, mode: 0o700 });
  const limits = layerLimitsOf(config, shim.storage.defaults);
  const steps = [
    shim.images.prepareRootFilesystem(rootFilesystemId(record), image, { owner: rootOwnerOf(sandbox), limits }),
    mountImageViews(shim, making),
    planPidNamespace(shim, sandbox, config),
  ] as const;
  // One that fails is undone only when the others have ended.
  await Promise.allSettled(steps);
  const [root, imageViews, pidNamespace] = await Promise.all(steps);
  await shim.turns.next();
  const mapped = mapMounts(shim, sandbox, id, config);
  const asked = toWritableResources(config.linux?.resources ?? null, shim.cgroups.hugepageSizes());
  const resources = withPidsLimit(asked, config);
  const { net, ipc, user } = sandbox.namespaces;
  const planned = buildSpec({
    config,
    image: image.config.config,
    root: placeRoot(shim, sandbox, id, root.path),
    cgroupsPath: record.cgroupsPath,
    hostname: sandbox.hostname,
    namespaces: planNamespaces(sandbox, pidNamespace),
    userMapping: user?.mapping,
    mappedMounts: new Map([...mapped].map(([index, { target }]) => [index, target])),
    canMountRecursiveReadOnly: shim.rights.recursiveReadOnly,
    files: Object.fromEntries(
      ['hosts', 'hostname', 'resolv.conf'].map((name) => [`/etc/${name}`, join(sandbox.directory, name)]),
    ),
    shm: ipc === undefined ? '/dev/shm' : join(ipc, '..', '..', 'shm'),
    imageViews,
    sysctls: {
      ...(net === undefined ? {} : { 'net.ipv4.ip_unprivileged_port_start': '0' }),
      ...planSysctls(sandbox.config.linux?.sysctls ?? {}, { net: net !== undefined, ipc: ipc !== undefined }),
    },
    resources,
    hasSwapLimit: shim.hasSwapLimit,
    tmpfs: tmpfsOf(config.annotations),
    ulimits: ulimitsOf(config.annotations),
    groups: groupsOf(config.annotations),
    init: wantsInit(config.annotations) ? findInit() : undefined,
    own: shim.ownCapabilities,
    profiles: shim.profiles,
  });
  writeFileSync(bundleFiles.config(record.bundle), stringifySpec(shim.filters.apply(planned.spec)), { mode: 0o600 });
  return { planned, pidNamespace, mapped };
}

function creationPaths({ root, mounts, linux }: OciSpec, { logPath }: ContainerRecord): CreationPaths {
  const sources = mounts.flatMap(({ source = '' }) => (source.startsWith('/') ? [source] : []));
  const pins = linux.namespaces.flatMap(({ path }) => (path === undefined ? [] : [path]));
  return { root: root.path, sources, pins, logPath };
}

function withPidsLimit(resources: WritableResources, config: ContainerConfig): WritableResources {
  const pids = pidsLimitOf(config.annotations) ?? resources.pids ?? DEFAULT_PIDS_LIMIT;
  return { ...resources, pids };
}

function findInit(): string {
  const path = INIT_PROGRAMS.map((name) => findProgram(name)).find((file) => file !== undefined);
  if (path === undefined)
    throw new WindlassError('Unavailable', 'no init program is installed: install tini or catatonit');
  return path;
}

/** Those of the sandbox, with the container's own choice of pids. */
function planNamespaces({ namespaces }: SandboxRecord, pid: PidNamespace): Record<string, string | null> {
  const { net, ipc, uts, user } = namespaces;
  return {
    ...(user === undefined ? {} : { user: user.path }),
    ...(net === undefined ? {} : { network: net }),
    ...(ipc === undefined ? {} : { ipc }),
    ...(uts === undefined ? {} : { uts }),
    ...(pid.path === undefined ? {} : { pid: pid.path }),
  };
}

async function mountImageViews(shim: Shim, { id, config, sandbox }: Making): Promise<Map<number, string>> {
  const views = new Map<number, string>();
  for (const [index, mount] of config.mounts.entries()) {
    if (!mount.image) continue;
    const image = shim.images.find(mount.image.image);
    if (!image)
      throw new WindlassError('NotFound', `mounts[${index}]: image ${mount.image.image} is not present on this node`);
    const view = await shim.images.mountView(image, viewHolder(id, index), rootOwnerOf(sandbox)?.userNamespace);
    const part = resolveInRoot(view, mount.imageSubPath);
    if (!part.stat)
      throw new WindlassError(
        'Invalid',
        `mounts[${index}]: ${mount.imageSubPath} is not in image ${mount.image.image}`,
      );
    views.set(index, part.hostPath);
  }
  return views;
}

function describeCreated(
  shim: Shim,
  record: ContainerRecord,
  planned: PlannedSpec,
  { pid, conmonPid }: { readonly pid: number; readonly conmonPid: number },
): ContainerRecord {
  const init = identifyProcess(pid);
  const conmon = conmonPid > 0 ? identifyProcess(conmonPid) : undefined;
  if (!init) shim.log.debug({ container: record.id }, 'the container ended before it was started');
  const { uid, gid, groups } = planned.user;
  return {
    ...record,
    phase: 'created',
    user: { uid, gid, groups },
    ...(init ? { init } : {}),
    ...(conmon ? { conmon } : {}),
  };
}

/** conmon writes its pid file before it reports: absent means that it died since. */
function readQuietly(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isNotFound(error) || (error as NodeJS.ErrnoException).code === 'ENOENT') return '0';
    throw error;
  }
}
