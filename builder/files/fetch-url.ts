// ADD of a URL: the file it leads to, with limits.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { isAbort, messageOf, reasonOf, WindlassError } from '../../lib/errors.ts';
import { checkHost, guardedLookup, namesThisMachine } from '../../lib/refused-addresses.ts';
import { withoutSecrets } from '../../lib/shown-url.ts';
import { digestMismatch, parseDigest, splitDigest, type Digest } from '../../oci/digest.ts';
import { asStoreError, MIN_FREE_BYTES, NO_SPACE } from '../../oci/ingest.ts';

const MAX_REDIRECTS = 10;
const MAX_BYTES = 16 * 1024 ** 3;
const SPACE_CHECK_BYTES = 64 * 1024 * 1024;
const IDLE_MS = 60_000;

export interface FetchOptions {
  /** File to make. */
  readonly target: string;
  /** `sha256:...` that the bytes have to have. */
  readonly checksum?: string | undefined;
  readonly maxBytes?: number;
  readonly signal: AbortSignal;
}

/** Whether a source of an ADD is fetched over HTTP. */
export const isHttpUrl = (source: string): boolean => /^https?:\/\//i.test(source);

/** The name a URL gives to its file: the last part of its path; undefined when it has none. */
export function fileNameOf(url: string): string | undefined {
  let path: string;
  try {
    path = decodeURIComponent(new URL(url).pathname);
  } catch {
    throw new WindlassError('Invalid', `${JSON.stringify(withoutSecrets(url))} is no URL`);
  }
  const name = path.split('/').at(-1) ?? '';
  return name === '' || name === '.' || name === '..' || name.includes('\0') ? undefined : name;
}

/**
 * Fetches `url` into a new file with mode 0600. Gives the time of its Last-Modified header; 0 without one. Throws
 * Forbidden for an address that builds may not reach (refused-addresses.ts), Invalid for an answer that is no file, is
 * too large or has another checksum, Unavailable when the server cannot be reached or the disk is full.
 */
export async function fetchUrl(url: string, options: FetchOptions): Promise<{ modifiedSeconds: number }> {
  const shown = withoutSecrets(url);
  const checksum = options.checksum === undefined ? undefined : parseDigest(options.checksum);
  const mayReachThisMachine = namesThisMachine(new URL(url).hostname);
  const agent = new Agent({
    connect: { lookup: guardedLookup(mayReachThisMachine) },
    headersTimeout: IDLE_MS,
    bodyTimeout: IDLE_MS,
  });
  try {
    const { body, headers } = await follow(url, agent, mayReachThisMachine, options.signal);
    await save(body, checksum, options);
    const modified = Date.parse(String(headers['last-modified'] ?? ''));
    return { modifiedSeconds: Number.isFinite(modified) ? Math.floor(modified / 1000) : 0 };
  } catch (error) {
    await rm(options.target, { force: true });
    if (isAbort(error)) throw options.signal.aborted ? options.signal.reason : error;
    const why = error instanceof WindlassError ? error.message : messageOf(error);
    throw new WindlassError(reasonOf(error) ?? 'Unavailable', `failed to fetch ${shown}: ${why}`, { cause: error });
  } finally {
    await agent.destroy();
  }
}

type Answer = Awaited<ReturnType<typeof request>>;

async function follow(url: string, agent: Agent, mayReachThisMachine: boolean, signal: AbortSignal): Promise<Answer> {
  let at = new URL(url);
  const { origin, username, password } = at;
  const credentials = username === '' ? undefined : basic(username, password);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    if (at.protocol !== 'http:' && at.protocol !== 'https:') {
      throw new WindlassError('Forbidden', `it leads to a ${at.protocol} URL; only http and https are fetched`);
    }
    checkHost(at.hostname, mayReachThisMachine);
    const headers: Record<string, string> = { 'user-agent': 'windlass', 'accept-encoding': 'identity' };
    // Whoever it redirects to gets no password.
    if (credentials !== undefined && at.origin === origin) headers['authorization'] = credentials;
    at.username = '';
    at.password = '';
    const answer = await request(at, { dispatcher: agent, headers, signal });
    const { location } = answer.headers;
    if (answer.statusCode === 200) return answer;
    await answer.body.dump();
    if (![301, 302, 303, 307, 308].includes(answer.statusCode) || typeof location !== 'string') {
      throw new WindlassError('Invalid', `the server answered ${answer.statusCode}`);
    }
    at = new URL(location, at);
  }
  throw new WindlassError('Invalid', `more than ${MAX_REDIRECTS} redirects`);
}

const basic = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`;

async function save(body: AsyncIterable<Buffer>, checksum: Digest | undefined, options: FetchOptions): Promise<void> {
  const { target, maxBytes = MAX_BYTES } = options;
  const hash = createHash(checksum ? splitDigest(checksum).algorithm : 'sha256');
  const file = await open(target, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  let total = 0;
  let unchecked = SPACE_CHECK_BYTES;
  try {
    for await (const chunk of body) {
      total += chunk.length;
      unchecked += chunk.length;
      if (total > maxBytes) throw new WindlassError('Invalid', `it has more than ${maxBytes} bytes`);
      if (unchecked >= SPACE_CHECK_BYTES) {
        const { bavail, bsize } = await statfs(target);
        if (bavail * bsize < MIN_FREE_BYTES + unchecked) throw new WindlassError('Unavailable', NO_SPACE);
        unchecked = 0;
      }
      hash.update(chunk);
      await file.writeFile(chunk);
    }
  } catch (error) {
    throw asStoreError('it cannot be written', error);
  } finally {
    await file.close();
  }
  const found = checksum && `${splitDigest(checksum).algorithm}:${hash.digest('hex')}`;
  if (checksum && found !== checksum) throw digestMismatch('it', checksum, found ?? '');
}
