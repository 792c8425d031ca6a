import { messageOf } from '../../lib/errors.ts';
import type { Answer } from './call.ts';

export interface HealthCheck {
  readonly name: string;
  /** Rejects when unhealthy. */
  check(): Promise<void>;
}

const CHECK_TIMEOUT_MS = 2_000;

/** Answers `/<suite>`, `/<suite>?verbose&exclude=x` and `/<suite>/<check>`, in upstream's text form. */
export async function renderHealth(suite: string, checks: readonly HealthCheck[], requestUrl: string): Promise<Answer> {
  const url = new URL(requestUrl, 'https://host');
  const only = url.pathname.split('/')[2];
  const excluded = new Set(url.searchParams.getAll('exclude'));
  const chosen = checks.filter(({ name }) => (only ? name === only : !excluded.has(name)));
  if (only && chosen.length === 0) return text(404, `no check named ${only}\n`);
  const results = await Promise.all(
    chosen.map(async ({ name, check }) => {
      try {
        await Promise.race([check(), timeout()]);
        return { name, failure: undefined };
      } catch (error) {
        return { name, failure: messageOf(error) };
      }
    }),
  );
  const failed = results.filter(({ failure }) => failure !== undefined);
  if (failed.length === 0 && !url.searchParams.has('verbose')) return text(200, 'ok');
  // Reasons may name addresses; whoever asks without a certificate gets the names of the checks alone.
  const lines = results.map(({ name, failure }) =>
    failure === undefined ? `[+]${name} ok` : `[-]${name} failed: reason withheld`,
  );
  lines.push(`${suite} check ${failed.length === 0 ? 'passed' : 'failed'}`);
  return text(failed.length === 0 ? 200 : 500, `${lines.join('\n')}\n`);
}

async function timeout(): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error('timed out')), CHECK_TIMEOUT_MS).unref();
  });
}

function text(status: number, body: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body, headers: { 'X-Content-Type-Options': 'nosniff' } };
}
