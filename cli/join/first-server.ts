// Of the servers that a machine is told of, the one that answers.
import { isUnavailable } from '../../lib/errors.ts';
import { askServer, type ServerFacts } from './server-facts.ts';

/** The first of `servers`, which `flag` named, that answers; throws what the last one of them met. */
export async function firstServer(
  flag: '--server' | '--join',
  servers: readonly string[],
  caHash: string,
  signal: AbortSignal,
): Promise<{ url: string; facts: ServerFacts }> {
  let failure: unknown;
  for (const url of servers) {
    try {
      return { url, facts: await askServer(url, caHash, signal, flag) };
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      failure = error;
    }
  }
  throw failure;
}
