// What must hold in a cluster that has come to rest, whatever happened to it before; compared with the hosts themselves,
// not only with what the API says.
import { containerKind, type Container } from '../../../crds/container.ts';
import { serviceKind, type Service } from '../../../crds/service.ts';
import type { Cluster, ClusterNode } from '../cluster.ts';
import { curlArguments } from './node.ts';

export interface CheckOptions {
  /** Services that were created and not deleted, with the replicas they should have. */
  readonly services: ReadonlyMap<string, number>;
  /** Port on which every replica answers with its own name. */
  readonly port: number;
  /** Names of overlay networks: what is on one answers to all that is on it, whatever node they are on. */
  readonly overlays: readonly string[];
  /** Published ports, and the Service that answers there on every node. */
  readonly published: ReadonlyMap<number, string>;
}

/** What is wrong, one line each; none when all is well. */
export async function checkCluster(cluster: Cluster, options: CheckOptions): Promise<string[]> {
  const containers = (await cluster.api.kind(containerKind).list({ namespace: 'default' })).items;
  const services = (await cluster.api.kind(serviceKind).list({ namespace: 'default' })).items;
  const hosts = new Map(
    await Promise.all(cluster.nodes.map(async (node) => [node.name, await node.running()] as const)),
  );
  return [
    ...checkObjects(services, containers, options.services),
    ...checkSlots(services, containers),
    ...checkAddresses(containers),
    ...checkHosts(containers, hosts),
    ...(await checkEndpoints(cluster, containers, options)),
    ...(await checkPublished(cluster, containers, options.published)),
  ];
}

/** No object is lost, and none is there that should not be. */
function checkObjects(
  services: readonly Service[],
  containers: readonly Container[],
  wanted: ReadonlyMap<string, number>,
): string[] {
  const problems: string[] = [];
  for (const [name, replicas] of wanted) {
    const service = services.find(({ metadata }) => metadata.name === name);
    if (!service) problems.push(`Service ${name} is lost`);
    const own = containers.filter(({ metadata }) => metadata.labels?.['windlass.dev/service'] === name);
    const ready = own.filter(isReady);
    if (own.length !== replicas || ready.length !== replicas) {
      const said = own.map(({ metadata, spec, status }) => `${metadata.name} ${spec.nodeName} ${status?.reason}`);
      problems.push(
        `Service ${name} has ${own.length} Containers, ${ready.length} Ready, want ${replicas}: ${said.join('; ')}`,
      );
    }
  }
  for (const { metadata } of services)
    if (!wanted.has(metadata.name)) problems.push(`Service ${metadata.name} is too much`);
  return problems;
}

/** No slot twice. */
function checkSlots(services: readonly Service[], containers: readonly Container[]): string[] {
  return services.flatMap(({ metadata: { name } }) => {
    const own = containers.filter(({ metadata }) => metadata.labels?.['windlass.dev/service'] === name);
    const slots = Object.entries(Object.groupBy(own, ({ metadata }) => metadata.labels?.['windlass.dev/slot'] ?? ''));
    return slots.flatMap(([slot, holders = []]) =>
      holders.length === 1
        ? []
        : [`slot ${slot} of Service ${name} is held by ${holders.map(({ metadata }) => metadata.name).join(' and ')}`],
    );
  });
}

/** No address twice. */
function checkAddresses(containers: readonly Container[]): string[] {
  const holders = new Map<string, string>();
  return containers.flatMap(({ metadata, status }) =>
    (status?.networks ?? []).flatMap(({ ipv4Address }) => {
      if (ipv4Address === undefined) return [];
      const holder = holders.get(ipv4Address);
      holders.set(ipv4Address, metadata.name);
      return holder === undefined ? [] : [`${ipv4Address} is the address of ${holder} and of ${metadata.name}`];
    }),
  );
}

/** Each host runs what is bound to it, once, and nothing else. */
function checkHosts(containers: readonly Container[], hosts: ReadonlyMap<string, readonly string[]>): string[] {
  return [...hosts].flatMap(([host, running]) => {
    const bound = containers.filter(({ spec }) => spec.nodeName === host).map(({ metadata }) => metadata.name);
    const [has, wants] = [running.join(' '), bound.toSorted().join(' ')];
    return has === wants ? [] : [`${host} runs ${has || 'nothing'}, want ${wants || 'nothing'}`];
  });
}

/**
 * Each Ready endpoint answers with its own name: on the node it is on, and on an overlay to a container of the network on
 * every other node.
 */
async function checkEndpoints(
  cluster: Cluster,
  containers: readonly Container[],
  { port, overlays }: CheckOptions,
): Promise<string[]> {
  const ready = containers.filter(isReady);
  const endpoints = ready.flatMap(({ metadata, spec, status }) =>
    (status?.networks ?? []).map(({ name: network, ipv4Address = '' }) => ({
      ...{ name: metadata.name, node: spec.nodeName ?? '', network, url: `http://${ipv4Address}:${port}/` },
    })),
  );
  const problems = await Promise.all(
    cluster.nodes.map(async (node) => {
      const local = endpoints.filter((one) => one.node === node.name && !overlays.includes(one.network));
      const asked = local.map(async ({ name, url }) => ({ name, url, answer: await node.curl(url), from: node.name }));
      const askers = overlays.flatMap((network) => {
        const asker = ready.find((one) => one.spec.nodeName === node.name && networkNames(one).includes(network));
        return asker === undefined
          ? []
          : endpoints.filter((one) => one.network === network).map((one) => ({ one, asker }));
      });
      const askedFar = askers.map(async ({ one: { name, url }, asker }) => {
        const from = `${asker.metadata.name} on ${node.name}`;
        return { name, url, answer: await curlFrom(node, asker, url), from };
      });
      return await Promise.all([...asked, ...askedFar]);
    }),
  );
  return problems
    .flat()
    .filter(({ name, answer }) => answer?.trim() !== name)
    .map(({ name, url, answer, from }) => `${name} at ${url} answers ${JSON.stringify(answer)} to ${from}`);
}

const networkNames = ({ status }: Container): string[] => (status?.networks ?? []).map(({ name }) => name);

/** From the network namespace of a container; undefined when there was no answer. */
async function curlFrom(node: ClusterNode, container: Container, url: string): Promise<string | undefined> {
  const pid = `$(cat ${node.instance.run}/shim/b/${container.status?.containerID ?? ''}/pid)`;
  const asked = node.sh(`nsenter -t ${pid} -n curl ${curlArguments(url, 5).join(' ')}`);
  return asked.catch(() => undefined);
}

/** Every node answers on every published port of a Service that has something Ready. */
async function checkPublished(
  cluster: Cluster,
  containers: readonly Container[],
  published: ReadonlyMap<number, string>,
): Promise<string[]> {
  const asked = [...published].flatMap(([port, service]) => {
    const names = containers
      .filter((one) => isReady(one) && one.metadata.labels?.['windlass.dev/service'] === service)
      .map(({ metadata }) => metadata.name);
    return names.length === 0 ? [] : cluster.nodes.map(({ name, ipv4 }) => ({ port, names, name, ipv4 }));
  });
  const problems = asked.map(async ({ port, names, name, ipv4 }) => {
    const answer = (await cluster.curl(`http://${ipv4}:${port}/`))?.trim() ?? '';
    return names.includes(answer) ? [] : [`${name} answers ${JSON.stringify(answer)} on published port ${port}`];
  });
  return (await Promise.all(problems)).flat();
}

const isReady = ({ status }: Container): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
