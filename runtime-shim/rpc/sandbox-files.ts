// /etc/hosts, /etc/hostname and /etc/resolv.conf of a sandbox, as texts.
import { readFileSync } from 'node:fs';
import type { DnsConfig } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import type { NetworkInterface } from '../network/node-network.ts';

export interface HostsInput {
  readonly hostname: string;
  readonly domainname: string;
  readonly interfaces: readonly NetworkInterface[];
  readonly hostAliases: readonly { readonly ip: string; readonly hostnames: readonly string[] }[];
  readonly hostNetwork: boolean;
}

/** Text of /etc/hosts: the host's own in its network, else loopback and the addresses of the sandbox's first interface. */
export function hostsFile(input: HostsInput): string {
  const base = input.hostNetwork
    ? readText('/etc/hosts')
    : [
        '127.0.0.1\tlocalhost',
        '::1\tlocalhost ip6-localhost ip6-loopback',
        'fe00::\tip6-localnet',
        'ff00::\tip6-mcastprefix',
        'ff02::1\tip6-allnodes',
        'ff02::2\tip6-allrouters',
        ...input.interfaces
          .slice(0, 1)
          .flatMap(({ ipv4Address, ipv6 }) => [ipv4Address, ...(ipv6 ? [ipv6.address] : [])])
          .map((ip) => `${ip}\t${[...fullName(input), input.hostname].join(' ')}`),
        '',
      ].join('\n');
  const aliases = input.hostAliases.map(({ ip, hostnames }) => `${ip}\t${hostnames.join(' ')}\n`);
  return `${base}${base === '' || base.endsWith('\n') ? '' : '\n'}${aliases.join('')}`;
}

function fullName({ hostname, domainname }: HostsInput): string[] {
  return domainname === '' ? [] : [`${hostname}.${domainname}`];
}

/**
 * Text of /etc/resolv.conf: what was asked for; else the resolver on the networks' gateways, which knows the names of
 * the networks and asks the node's for the rest; else, without a network, the host's own.
 */
export function resolvConf(
  dns: DnsConfig | null,
  interfaces: readonly NetworkInterface[],
  hostText: () => string = () => readText('/etc/resolv.conf'),
): string {
  const gateways = interfaces.map(({ gateway }) => gateway).filter((gateway) => gateway !== '');
  const servers = dns && dns.servers.length > 0 ? dns.servers : gateways.slice(0, 3);
  const said = [...(dns?.servers ?? []), ...(dns?.searches ?? []), ...(dns?.options ?? [])];
  if (said.some((text) => /[\s\0]/.test(text)))
    throw new WindlassError('Invalid', 'dns_config: an entry holds white space');
  if (servers.length === 0 && said.length === 0) return hostText();
  return [
    ...servers.map((server) => `nameserver ${server}`),
    ...(dns && dns.searches.length > 0 ? [`search ${dns.searches.join(' ')}`] : []),
    `options ${dns && dns.options.length > 0 ? dns.options.join(' ') : 'ndots:0'}`,
    '',
  ].join('\n');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
