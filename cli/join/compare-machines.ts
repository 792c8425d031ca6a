// Whether two machines can be of one cluster. Pure.

/** Half of what a certificate allows two clocks to differ by. */
const MAX_SKEW_MS = 150_000;

/** Why the clocks are too far apart; undefined when they are not, or when the server did not say. */
export function clockProblem(ownMs: number, serverMs: number | undefined): string | undefined {
  if (serverMs === undefined || Number.isNaN(serverMs)) return undefined;
  const skewMs = ownMs - serverMs;
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return undefined;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  return `the clock of this machine is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the server's: set it right first (chrony or systemd-timesyncd)`;
}

/** Why a `role` of version `own` cannot join a server of version `server`; undefined when it can. */
export function versionProblem(own: string, server: string, role: 'node' | 'server' = 'node'): string | undefined {
  const [ownParts, serverParts] = [own, server].map(parse);
  if (!ownParts || !serverParts) return undefined;
  const [ownMajor, ownMinor] = ownParts;
  const [serverMajor, serverMinor] = serverParts;
  const mayDiffer = role === 'node' ? 1 : 0;
  if (ownMajor === serverMajor && ownMinor <= serverMinor && serverMinor - ownMinor <= mayDiffer) return undefined;
  return `windlass ${own} cannot join a server of windlass ${server}: ${RULES[role]}`;
}

const RULES = {
  node: "a node has its server's version, or the one before",
  server: 'a further server joins with the version of the first, and is updated later',
} as const;

function parse(version: string): [number, number] | undefined {
  const match = /^(\d+)\.(\d+)\./.exec(version);
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}
