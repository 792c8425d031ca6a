// Renews the certificates of a node that joined, with the one it has, long before they run out. A node whose files were
// written by the authority itself, on the machine of the server, has them renewed there.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiClient } from '../../../client/client.ts';
import { requestCertificate } from '../../../client/request-certificate.ts';
import type { Clock } from '../../../lib/clock.ts';
import { messageOf, reasonOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { certificateLife, certificateUserId, type KeyPair } from '../../../lib/pki.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import { replaceFile } from '../../../lib/replace-file.ts';

/** The part of its life after which a certificate is renewed. */
const RENEW_AFTER = 0.7;
const MIN_WAIT_MS = 1_000;
/** A timer cannot be set for as long as a certificate may live; and clocks are set right meanwhile. */
const MAX_WAIT_MS = 60 * 60_000;
const MAX_RETRY_MS = 10 * 60_000;
const ASK_TIMEOUT_MS = 60_000;

/** The names of the files in `<home>/pki`. */
const CLIENT = 'node';
const SERVING = 'node-agent';

export interface CertificateRenewerDeps {
  readonly client: ApiClient;
  readonly nodeName: string;
  /** PEM of the certificate that the client shows now; the files are looked at when it carries the UID of a Node. */
  readonly cert: string | undefined;
  /** `<home>/pki`. */
  readonly folder: string;
  readonly setServing: (pair: KeyPair) => void;
  /** Told of a new client certificate, beside `client`. */
  readonly onClient: (pair: KeyPair) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** When the certificate should be renewed, in milliseconds since the epoch. */
export function renewalTime({ issuedAt, notAfter }: { issuedAt: number; notAfter: number }): number {
  return issuedAt + (notAfter - issuedAt) * RENEW_AFTER;
}

const untilOf = (cert: string): string => new Date(certificateLife(cert).notAfter).toISOString();

/** The renewer; it does nothing for certificates that carry no UID of a Node. */
export function createCertificateRenewer(deps: CertificateRenewerDeps): RunPart {
  const { client, nodeName, folder, clock, log } = deps;
  const read = (name: string): KeyPair => ({
    cert: readFileSync(join(folder, `${name}.crt`), 'utf8'),
    key: readFileSync(join(folder, `${name}.key`), 'utf8'),
  });

  // Of what the client shows now: where it is worth telling, the files may be what cannot be read.
  let until = deps.cert === undefined ? undefined : untilOf(deps.cert);

  async function renew(
    name: string,
    { usage, use }: { usage: 'client' | 'server'; use: (pair: KeyPair) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const { key } = read(name);
    const limited = AbortSignal.any([signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]);
    const cert = await requestCertificate(client, { nodeName, key, usage }, limited, clock);
    // First: a full disk must not keep the node from what it has been given.
    use({ cert, key });
    const file = join(folder, `${name}.crt`);
    replaceFile(file, cert);
    log.info({ usage, until: untilOf(cert) }, 'renewed a certificate');
  }

  const show = (pair: KeyPair): void => {
    client.setCredentials(pair);
    deps.onClient(pair);
    until = untilOf(pair.cert);
  };

  /** Renews what is due; answers when to look again. */
  async function look(signal: AbortSignal): Promise<number> {
    const dueAt = (name: string): number => renewalTime(certificateLife(read(name).cert));
    // The client certificate first: the other is asked for with it.
    if (dueAt(CLIENT) <= clock.now()) await renew(CLIENT, { usage: 'client', use: show }, signal);
    if (dueAt(SERVING) <= clock.now()) await renew(SERVING, { usage: 'server', use: deps.setServing }, signal);
    return Math.min(dueAt(CLIENT), dueAt(SERVING)) - clock.now();
  }

  return {
    name: 'certificate renewer',
    async run(signal) {
      const isIssued = deps.cert !== undefined && certificateUserId(deps.cert) !== undefined;
      let failures = 0;
      while (!signal.aborted) {
        let waitMs: number;
        try {
          waitMs = isIssued ? await look(signal) : MAX_WAIT_MS;
          failures = 0;
        } catch (err) {
          if (signal.aborted) return;
          failures += 1;
          waitMs = Math.min(1_000 * 2 ** failures, MAX_RETRY_MS);
          log.error({ reason: reasonOf(err), message: messageOf(err), until }, 'failed to renew a certificate');
        }
        await clock.sleep(Math.min(Math.max(waitMs, MIN_WAIT_MS), MAX_WAIT_MS), signal).catch(() => undefined);
      }
    },
  };
}
