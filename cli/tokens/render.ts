// Tokens as text. Pure.
import { shellWord } from '../next-steps.ts';
import { renderTable } from '../table.ts';
import type { TokenFacts, TokenRole } from './tokens.ts';

/** The command that makes another machine a node, or a further server. */
export function renderJoinCommand(facts: { url: string; token: string; caHash: string; role?: TokenRole }): string {
  const words = facts.role === 'server' ? 'windlass server --join' : 'windlass node --server';
  return `${words} ${shellWord(facts.url)} --token ${facts.token} --ca-hash ${facts.caHash}`;
}

/** A table with one line per token. */
export function renderTokens(tokens: readonly TokenFacts[], now: number): string {
  return renderTable([
    ['TOKEN', 'ROLE', 'EXPIRES', 'USES', 'DESCRIPTION'],
    ...tokens.map(({ id, role, expiresAt, uses, used, description }) => [
      id,
      role ?? '<none>',
      describeExpiry(expiresAt, now),
      uses === undefined ? 'any' : `${used} of ${uses}`,
      description,
    ]),
  ]);
}

function describeExpiry(expiresAt: number | undefined, now: number): string {
  if (expiresAt === undefined) return 'never';
  if (expiresAt <= now) return 'expired';
  const minutes = Math.ceil((expiresAt - now) / 60_000);
  return minutes < 120 ? `in ${minutes} min` : `in ${Math.floor(minutes / 60)} h`;
}

/** Seconds of `90s`, `30m`, `24h`, `7d` or `0`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const [, amount, unit = ''] = /^([1-9]\d{0,6})([smhd])$/.exec(text) ?? [];
  const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
  return amount === undefined ? undefined : Number(amount) * (seconds[unit] ?? 1);
}
