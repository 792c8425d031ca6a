// The rules of one service port: how its connections are spread over the backends.
import { hashOf, mix } from './client-order.ts';
import { MASQUERADED } from './marks.ts';
import type { ServiceBackend, ServicePort } from './node-network.ts';
import { protocolWord } from './table-elements.ts';

/** Rules of the chain that spreads one service port over these backends; no backend = no rule = refused. */
export const serviceRules = (port: ServicePort, backends: readonly ServiceBackend[] = port.backends): string[] =>
  spread('ip', port, backends);

/** The same for clients that come by IPv6; the backends have addresses of that family. */
export const serviceIpv6Rules = (port: ServicePort, backends: readonly ServiceBackend[]): string[] =>
  spread('ip6', port, backends);

function spread(family: 'ip' | 'ip6', port: ServicePort, backends: readonly ServiceBackend[]): string[] {
  if (backends.length === 0) return [];
  const targetOf = (backend: ServiceBackend): string =>
    `${family === 'ip' ? backend.ip : backend.ipv6} . ${backend.port}`;
  const targets = port.sessionAffinity ? byClient(backends, targetOf) : backends.map(targetOf);
  const choice = port.sessionAffinity ? `jhash ${family} saddr` : 'numgen random';
  const seed = port.sessionAffinity ? ` seed ${SEED}` : '';
  const match = `${family === 'ip' ? 'ip protocol' : 'meta l4proto'} ${protocolWord(port.protocol)}`;
  const mark = port.clientAddress === 'Masquerade' ? `ct mark set ct mark or ${MASQUERADED} ` : '';
  return [`${match} ${mark}dnat ${family} to ${choice} mod ${targets.length}${seed} map { ${renderRanges(targets)} }`];
}

/** Rules of the chain of a port that is relayed by a listener of this process; the client's packets keep their destination. */
export const relayRules = (listener: number): string[] => [`ip protocol tcp dnat to :${listener}`];

const BUCKETS = 1024;
/** Given, since the kernel would draw another one for each rule: a client stays where it is when a rule is made anew. */
const SEED = '0x77696e64';

/**
 * Clients fall into buckets, and each bucket goes to the backend that scores highest there (rendezvous hashing): one that
 * comes or goes moves its own share of the clients, and every node decides alike, also one that knows only some of the
 * backends, as long as the winner is among them.
 */
function byClient(backends: readonly ServiceBackend[], targetOf: (backend: ServiceBackend) => string): string[] {
  const scored = backends.map((backend) => ({ target: targetOf(backend), hash: hashOf(backend.id) }));
  return Array.from({ length: BUCKETS }, (_, bucket) => {
    let [best, bestScore] = ['', -1];
    for (const { target, hash } of scored) {
      const score = mix(hash ^ Math.imul(bucket + 1, 0x9e3779b1));
      if (score > bestScore) [best, bestScore] = [target, score];
    }
    return best;
  });
}

/** `0 : a, 1-3 : b`: neighbours that are equal share an element. */
function renderRanges(targets: readonly string[]): string {
  const ranges: string[] = [];
  for (let first = 0; first < targets.length;) {
    let last = first;
    while (targets[last + 1] === targets[first]) last += 1;
    ranges.push(`${first === last ? first : `${first}-${last}`} : ${targets[first]}`);
    first = last + 1;
  }
  return ranges.join(', ');
}
