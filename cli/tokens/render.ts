// Tokens as text. Pure.
import { shellWord } from '../next-steps.ts';
import type { TokenFacts } from './tokens.ts';

/** The command that makes another machine a node. */
export function renderJoinCommand(facts: { url: string; token: string; caHash: string }): string {
  return `windlass node --server ${shellWord(facts.url)} --token ${facts.token} --ca-hash ${facts.caHash}`;
}

/** A table with one line per token. */
export function renderTokens(tokens: readonly TokenFacts[], now: number): string {
  const rows = [
    ['TOKEN', 'ROLE', 'EXPIRES', 'USES', 'DESCRIPTION'],
    ...tokens.map(({ id, role, expiresAt, uses, used, description }) => [
      id,
      role,
      describeExpiry(expiresAt, now),
      uses === undefined ? 'any' : `${used} of ${uses}`,
      description,
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd((widths[column] ?? 0) + 3))
        .join('')
        .trimEnd(),
    )
    .join('\n');
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
