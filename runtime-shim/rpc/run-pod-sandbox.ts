import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NamespaceOption, PodSandboxConfig, PodSandboxId, RunPodSandboxRequest } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import type { PublishedPort, SandboxNetwork } from '../network/node-network.ts';
import { POD_NETWORK } from '../network/pod-network.ts';
import { planUserNamespace } from '../oci-runtime/user-namespace.ts';
import { pooledNetworkOf } from '../pool/pooled-network.ts';
import { planSysctls } from '../oci-runtime/sysctls.ts';
import { asFolderError } from '../store/record-file.ts';
import { sandboxKey, type SandboxRecord } from '../store/records.ts';
import { toHostIp } from './addresses.ts';
import { attachmentsOf, domainnameOf, hostAliasesOf, shmSizeOf } from './annotations.ts';
import { checkTexts } from './check-texts.ts';
import type { Shim } from './deps.ts';
import { publishSandboxEvent } from './events.ts';
import { refuseForeignSandboxParts } from './refuse-foreign.ts';
import { hostsFile, resolvConf } from './sandbox-files.ts';
import { teardownSandbox } from './teardown.ts';
import { makeUserNamespace, requireUserNamespaces, rootOwnerOf } from './user-namespace.ts';

const NO_NETWORK: SandboxNetwork = { interfaces: [], ports: [] };

/**
 * Makes a sandbox, or returns the one of that name. Calls of one name share one run, which goes on when its callers
 * give up: their retry finds it done. What fails is undone; what cannot be undone is finished by the next try.
 */
export async function runPodSandbox(
  shim: Shim,
  request: RunPodSandboxRequest,
  { signal }: CallContext,
): Promise<PodSandboxId> {
  const config = checkConfig(requireField(request.config, 'config'));
  if (request.runtimeHandler !== '' && request.runtimeHandler !== shim.runtime.kind) {
    throw new WindlassError('Invalid', `unknown runtime handler ${JSON.stringify(request.runtimeHandler)}`);
  }
  // Its containers follow at once, as a rule.
  shim.moves.prime();
  const key = sandboxKey(config);
  return shim.shared.run(`sandbox ${key}`, signal, async () => {
    const existing = shim.store.sandboxes.list().find((record) => sandboxKey(record.config) === key);
    if (existing?.phase === 'ready') return { podSandboxId: existing.id };
    if (existing?.phase === 'stopped') {
      throw new WindlassError(
        'AlreadyExists',
        `sandbox ${existing.id} of that name is stopped: remove it or use the next attempt`,
      );
    }
    // Left half made by a run that died or whose undo failed.
    if (existing) await shim.queue.run(existing.id, () => teardownSandbox(shim, existing.id));
    const network = pooledNetworkOf(config);
    const pooled = network === undefined ? undefined : shim.pool.take(network);
    const id = pooled ?? randomBytes(32).toString('hex');
    const { runtimeHandler } = request;
    return shim.queue.run(id, () => makeSandbox(shim, { id, config, runtimeHandler, isPooled: pooled !== undefined }));
  });
}

interface Making {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  /** The parts that every sandbox has are there already: see pool/. */
  readonly isPooled: boolean;
}

async function makeSandbox(shim: Shim, { id, config, runtimeHandler, isPooled }: Making): Promise<PodSandboxId> {
  await shim.turns.next();
  const record = planSandbox(shim, id, config, runtimeHandler);
  const ready: SandboxRecord = { ...record, phase: 'ready' };
  shim.store.sandboxes.save(record);
  try {
    mkdirSync(record.directory, { recursive: true, mode: 0o711 });
    if (isPooled) nameNamespaces(shim, record);
    else await makeNamespaces(shim, record);
    await shim.turns.next();
    const network = await (isPooled ? adopt(shim, record) : connect(shim, record));
    writeFiles(record, network);
    if (!isPooled) mountShm(shim, record);
    shim.store.sandboxes.save(ready);
  } catch (error) {
    try {
      await teardownSandbox(shim, id);
    } catch (undoError) {
      shim.log.warn({ sandboxId: id, err: undoError }, 'failed to undo a sandbox: its record stays for the next try');
    }
    throw asFolderError(record.directory, error);
  }
  publishSandboxEvent(shim, ready, 'CONTAINER_CREATED_EVENT');
  publishSandboxEvent(shim, ready, 'CONTAINER_STARTED_EVENT');
  shim.log.info({ sandboxId: id, name: config.metadata?.name, namespace: config.metadata?.namespace }, 'sandbox ready');
  return { podSandboxId: id };
}

function checkConfig(config: PodSandboxConfig): PodSandboxConfig {
  const metadata = requireField(config.metadata, 'config.metadata');
  requireField(metadata.name, 'config.metadata.name');
  refuseForeignSandboxParts(config);
  checkTexts(config, 'config');
  if (!/^[A-Za-z0-9._-]{0,64}$/.test(config.hostname)) {
    throw new WindlassError('Invalid', `config.hostname: invalid host name ${JSON.stringify(config.hostname)}`);
  }
  if (config.logDirectory !== '' && !/^\/(?!.*(?:^|\/)\.\.(?:\/|$))[^\0\n]*$/.test(config.logDirectory)) {
    throw new WindlassError('Invalid', 'config.log_directory: must be an absolute path without ..');
  }
  for (const [index, port] of config.portMappings.entries()) {
    if (port.protocol === 'SCTP')
      throw new WindlassError('Unimplemented', `config.port_mappings[${index}]: SCTP is not supported`);
  }
  return config;
}

/** Which namespaces it has, from CRI's modes; TARGET with the id of a sandbox joins that sandbox's. */
function planSandbox(shim: Shim, id: string, config: PodSandboxConfig, runtimeHandler: string): SandboxRecord {
  const options = config.linux?.securityContext?.namespaceOptions ?? undefined;
  const directory = join(paths.shimState(shim.instance), 's', id);
  const target = findTarget(shim, options);
  const pin = (kind: 'net' | 'ipc' | 'uts', mode: NamespaceOption['network'] | undefined) => {
    if (mode === 'NODE') return {};
    if (mode !== 'TARGET') return { [kind]: join(directory, 'ns', kind) };
    const path = target?.namespaces[kind];
    return path === undefined ? {} : { [kind]: path };
  };
  const mapping = planUserNamespace(options);
  if (mapping) requireUserNamespaces(shim.rights, options);
  const namespaces = {
    ...(mapping === undefined ? {} : { user: { path: join(directory, 'ns', 'user'), mapping } }),
    ...pin('net', options?.network),
    ...pin('ipc', options?.ipc),
    ...pin('uts', options?.network === 'TARGET' ? 'POD' : options?.network),
  };
  planSysctls(config.linux?.sysctls ?? {}, { net: 'net' in namespaces, ipc: 'ipc' in namespaces });
  return {
    id,
    phase: 'creating',
    config,
    runtimeHandler,
    createdAtMs: shim.clock.now(),
    hostname: config.hostname || ('uts' in namespaces ? id.slice(0, 12) : ''),
    directory,
    namespaces,
    ...(options?.network === 'TARGET' && target ? { networkOf: target.id } : {}),
  };
}

function findTarget(shim: Shim, options: NamespaceOption | undefined): SandboxRecord | undefined {
  if (options?.network !== 'TARGET' && options?.ipc !== 'TARGET') return undefined;
  const target = shim.store.sandboxes.find(options.targetId);
  if (target?.phase !== 'ready') {
    throw new WindlassError('NotFound', `sandbox ${options.targetId}, whose namespaces are to be shared, is not there`);
  }
  return target;
}

function isOwn(record: SandboxRecord, path: string | undefined): path is string {
  return path !== undefined && path.startsWith(`${record.directory}/`);
}

async function makeNamespaces(shim: Shim, record: SandboxRecord): Promise<void> {
  const { net, ipc, uts, user } = record.namespaces;
  const own = {
    ...(isOwn(record, net) ? { net } : {}),
    ...(isOwn(record, ipc) ? { ipc } : {}),
    ...(isOwn(record, uts) ? { uts } : {}),
  };
  const inside = (): void => {
    if (isOwn(record, uts)) setDomainname(record);
  };
  if (!user) return shim.host.createSandboxNamespaces({ ...own, hostname: record.hostname }, inside);
  await makeUserNamespace(shim, record, own);
  if (isOwn(record, uts)) shim.host.setHostname(uts, record.hostname, inside);
}

function setDomainname(record: SandboxRecord): void {
  const domainname = domainnameOf(record.config.annotations);
  if (domainname !== '') writeFileSync('/proc/sys/kernel/domainname', domainname);
}

function nameNamespaces(shim: Shim, record: SandboxRecord): void {
  const { uts } = record.namespaces;
  if (uts !== undefined) shim.host.setHostname(uts, record.hostname, () => setDomainname(record));
}

function adopt(shim: Shim, { id, config }: SandboxRecord): Promise<SandboxNetwork> {
  const names = attachmentsOf(config.annotations).flatMap((attachment) => attachment.names);
  return shim.network.adoptSandbox(id, names, publishedPorts(config), labelOf(config));
}

async function connect(shim: Shim, record: SandboxRecord): Promise<SandboxNetwork> {
  const { net } = record.namespaces;
  if (record.networkOf !== undefined) return shim.network.sandboxStatus(record.networkOf) ?? NO_NETWORK;
  if (!isOwn(record, net)) return NO_NETWORK;
  const attachments = attachmentsOf(record.config.annotations);
  if (attachments.some(({ network }) => network === POD_NETWORK)) await shim.podNetwork.ensure();
  return shim.network.attachSandbox(
    record.id,
    net,
    attachments.map(({ network, ipv4Address, ipv6Address, macAddress, names }) => ({
      network,
      ...(ipv4Address ? { ipv4Address } : {}),
      ...(ipv6Address ? { ipv6Address } : {}),
      ...(macAddress ? { macAddress } : {}),
      names,
    })),
    publishedPorts(record.config),
    labelOf(record.config),
  );
}

/** For messages about what the sandbox holds. */
const labelOf = ({ metadata }: PodSandboxConfig): string =>
  `container ${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;

function publishedPorts(config: PodSandboxConfig): PublishedPort[] {
  return config.portMappings.flatMap(({ protocol, containerPort, hostPort, hostIp }, index) =>
    protocol === 'SCTP'
      ? []
      : [{ protocol, containerPort, hostPort, hostIp: toHostIp(hostIp, `config.port_mappings[${index}].host_ip`) }],
  );
}

function writeFiles(record: SandboxRecord, network: SandboxNetwork): void {
  const { annotations, dnsConfig } = record.config;
  const write = (name: string, text: string): void => {
    const file = join(record.directory, name);
    writeFileSync(file, text, { mode: 0o644 });
    const owner = rootOwnerOf(record);
    if (owner) chownSync(file, owner.uid, owner.gid);
  };
  const hostNetwork = record.namespaces.net === undefined;
  write('hostname', `${record.hostname}\n`);
  write(
    'hosts',
    hostsFile({
      hostname: record.hostname,
      domainname: domainnameOf(annotations),
      interfaces: network.interfaces,
      hostAliases: hostAliasesOf(annotations),
      hostNetwork,
    }),
  );
  write('resolv.conf', resolvConf(dnsConfig, hostNetwork ? [] : network.interfaces));
}

function mountShm(shim: Shim, record: SandboxRecord): void {
  if (!isOwn(record, record.namespaces.ipc)) return;
  const shm = join(record.directory, 'shm');
  mkdirSync(shm, { recursive: true });
  shim.host.mountTmpfs(shm, `mode=1777,size=${shmSizeOf(record.config.annotations)}`);
}
