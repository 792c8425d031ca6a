// The wire between test hosts: a bridge in a network namespace that the test process (its main thread) moves into, one
// veth per host, and an nft table that cuts and loses what passes. Nothing of the machine's own network is touched, so
// addresses may be the same in every run, and all of it is gone when the process is.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { check, libc } from '../../../runtime-shim/host/libc.ts';

const CLONE_NEWNET = 0x40000000;
const BRIDGE = 'underlay';
const TABLE = 'underlay';

/** The test process's own addresses on the wire; the hosts' default route. */
export const GATEWAY = { ipv4: '10.250.0.1', ipv6: 'fd00:250::1' } as const;

/** Addresses of the host with that number, from 1 on. */
export const hostAddresses = (number: number): { ipv4: string; ipv6: string } => ({
  ipv4: `10.250.0.${10 + number}`,
  ipv6: `fd00:250::${10 + number}`,
});

export interface Underlay extends Disposable {
  /** Plugs a host in: `eth0` in the network namespace of process `pid`, with its addresses and a default route. */
  plug(host: string, number: number, pid: number): void;
  unplug(host: string): void;
  /** Drops what passes between `host` and everybody else, or `other` alone, in silence: connections just hang. */
  cut(host: string, other?: string): void;
  restore(host: string, other?: string): void;
  /** Loses that share of the packets to and from `host`; 0 = none. */
  lose(host: string, percent: number): void;
  /** Delays each packet to the host; 0 = no more. Throws where the kernel has no netem. */
  delay(host: string, milliseconds: number): void;
  /** Limits what goes to the host; 0 = no limit. */
  limit(host: string, kbitPerSecond: number): void;
}

/** Moves the main thread into a new network namespace with the bridge in it; disposing moves it back. Needs root. */
export function createUnderlay(): Underlay {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  check(libc.unshare(CLONE_NEWNET), 'unshare');
  const cuts = new Set<string>();
  const losses = new Map<string, number>();
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', BRIDGE, 'type', 'bridge');
  ip('addr', 'add', `${GATEWAY.ipv4}/24`, 'dev', BRIDGE);
  ip('addr', 'add', `${GATEWAY.ipv6}/64`, 'dev', BRIDGE, 'nodad');
  ip('link', 'set', BRIDGE, 'up');
  const program = (): void => {
    execFileSync('nft', ['-f', '-'], { input: renderTable(cuts, losses) });
  };
  return {
    plug(host, number, pid) {
      const { ipv4, ipv6 } = hostAddresses(number);
      const inside = (...args: string[]): void =>
        void execFileSync('nsenter', ['-t', String(pid), '-n', 'ip', ...args]);
      ip('link', 'add', 'name', host, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid));
      ip('link', 'set', host, 'master', BRIDGE, 'up');
      inside('link', 'set', 'lo', 'up');
      inside('addr', 'add', `${ipv4}/24`, 'dev', 'eth0');
      inside('addr', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad');
      inside('link', 'set', 'eth0', 'up');
      inside('route', 'add', 'default', 'via', GATEWAY.ipv4);
      inside('-6', 'route', 'add', 'default', 'via', GATEWAY.ipv6);
    },
    unplug(host) {
      // The host's namespace may have taken it along already.
      execFileSync('sh', ['-c', 'ip link delete "$1" 2>/dev/null || true', 'sh', host]);
    },
    cut(host, other) {
      cuts.add(pair(host, other));
      program();
    },
    restore(host, other) {
      cuts.delete(pair(host, other));
      program();
    },
    lose(host, percent) {
      losses.delete(host);
      if (percent > 0) losses.set(host, percent);
      program();
    },
    delay(host, milliseconds) {
      if (milliseconds === 0) return clearQueue(host);
      queue(host, 'netem', 'delay', `${milliseconds}ms`);
    },
    limit(host, kbitPerSecond) {
      if (kbitPerSecond === 0) return clearQueue(host);
      queue(host, 'tbf', 'rate', `${kbitPerSecond}kbit`, 'burst', '32kb', 'latency', '200ms');
    },
    [Symbol.dispose]() {
      check(libc.setns(home, CLONE_NEWNET), 'setns');
      closeSync(home);
    },
  };
}

/** Whether packets can be delayed here. */
export function canDelay(): boolean {
  try {
    execFileSync('unshare', ['-n', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

const ip = (...args: string[]): void => void execFileSync('ip', args);

const queue = (host: string, ...discipline: string[]): void =>
  void execFileSync('tc', ['qdisc', 'replace', 'dev', host, 'root', ...discipline]);

const clearQueue = (host: string): void =>
  void execFileSync('sh', ['-c', 'tc qdisc delete dev "$1" root 2>/dev/null || true', 'sh', host]);

const pair = (host: string, other: string | undefined): string =>
  other === undefined ? host : [host, other].toSorted().join(' ');

/** The whole table, replaced in one transaction. What passes the bridge, and what the test process itself says and hears. */
function renderTable(cuts: ReadonlySet<string>, losses: ReadonlyMap<string, number>): string {
  const rules = (hook: 'forward' | 'input' | 'output'): string[] => {
    const ways = (host: string): string[] => [
      ...(hook === 'output' ? [] : [`iifname "${host}"`]),
      ...(hook === 'input' ? [] : [`oifname "${host}"`]),
    ];
    return [
      ...[...cuts].flatMap((cut) => {
        const [host = '', other] = cut.split(' ');
        if (other === undefined) return ways(host).map((way) => `${way} drop`);
        if (hook !== 'forward') return [];
        return [`iifname "${host}" oifname "${other}" drop`, `iifname "${other}" oifname "${host}" drop`];
      }),
      ...[...losses].flatMap(([host, percent]) =>
        ways(host).map((way) => `${way} numgen random mod 100 < ${percent} drop`),
      ),
    ];
  };
  const chains = (['forward', 'input', 'output'] as const).map(
    (hook) => `chain ${hook} { type filter hook ${hook} priority 0;\n${rules(hook).join('\n')}\n}`,
  );
  return `table bridge ${TABLE} {}\ndelete table bridge ${TABLE}\ntable bridge ${TABLE} {\n${chains.join('\n')}\n}\n`;
}
