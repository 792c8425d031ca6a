// What must hold in a cluster that has come to rest, whatever happened to it before; compared with the hosts themselves,
// not only with what the API says.
import { containerKind, type Container } from '../../../crds/container.ts';
import { serviceKind, type Service } from '../../../crds/service.ts';
import type { Cluster } from '../cluster.ts';

export interface CheckOptions {
  /** Services that were created and not deleted, with the replicas they should have. */
  readonly services: ReadonlyMap<string, number>;
  /** Port on which every replica answers with its own name. */
  readonly port: number;
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
    ...(await checkEndpoints(cluster, containers, options.port)),
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

/** Each Ready endpoint answers, with its own name, on the node it is on. */
async function checkEndpoints(cluster: Cluster, containers: readonly Container[], port: number): Promise<string[]> {
  const problems = await Promise.all(
    cluster.nodes.map(async (node) => {
      const endpoints = containers
        .filter((one) => isReady(one) && one.spec.nodeName === node.name)
        .map(({ metadata, status }) => ({ name: metadata.name, ip: status?.networks?.[0]?.ipv4Address ?? '' }));
      const asked = endpoints.map(async ({ name, ip }) => {
        const answer = (await node.curl(`http://${ip}:${port}/`))?.trim();
        return answer === name ? [] : [`${name} at ${ip} on ${node.name} answers ${JSON.stringify(answer)}`];
      });
      return (await Promise.all(asked)).flat();
    }),
  );
  return problems.flat();
}

const isReady = ({ status }: Container): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
