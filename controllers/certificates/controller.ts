// Watched: CertificateSigningRequests, and join tokens, which are removed a day after they expired.
import { readFileSync } from 'node:fs';
import type { InformerSet } from '../../client/informer-set.ts';
import { secretKind, signingRequestKind, type CertificateSigningRequest, type Secret } from '../../crds/builtin.ts';
import { BOOTSTRAP_TOKEN_TYPE } from '../../crds/join.ts';
import type { KeyPair } from '../../lib/pki.ts';
import { runAll, type RunPart } from '../../lib/run-all.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { createCertificateReconciler } from './reconcile.ts';
import { readToken } from '../../crds/join-token.ts';

/** For a day, who tries an expired token is told that it expired, and not that it never was. */
const KEEP_EXPIRED_MS = 24 * 60 * 60_000;
/** A timer cannot be set for as long as a token may live. */
const LOOK_MS = 60 * 60_000;

export interface SigningOptions {
  readonly authority: KeyPair;
  /** The longest life of a certificate. */
  readonly maxSeconds: number;
}

/** The authority that the flags name; undefined when they name none, so that nobody can join. */
export function readSigningOptions(flags: {
  readonly caCert?: string | undefined;
  readonly caKey?: string | undefined;
  readonly nodeCertificateSeconds: number;
}): SigningOptions | undefined {
  const { caCert, caKey, nodeCertificateSeconds: maxSeconds } = flags;
  if (caCert === undefined || caKey === undefined) return undefined;
  return { authority: { cert: readFileSync(caCert, 'utf8'), key: readFileSync(caKey, 'utf8') }, maxSeconds };
}

/** The informers of this part, which are to run with the others. */
export function watchSigning(informers: InformerSet) {
  return {
    requests: informers.add<CertificateSigningRequest>(signingRequestKind),
    tokens: informers.add<Secret>(secretKind, {
      namespace: 'kube-system',
      fieldSelector: `type=${BOOTSTRAP_TOKEN_TYPE}`,
    }),
  };
}

/** The part that lets nodes join. */
export function createSigningController(
  deps: ControllerDeps,
  { requests, tokens }: ReturnType<typeof watchSigning>,
  options: SigningOptions,
): RunPart {
  const { client, clock, events } = deps;
  const signing = createController(deps, {
    name: 'certificates',
    reconcile: createCertificateReconciler({ client, clock, events, ...options }),
    watches: [watch(requests, ({ metadata }) => [metadata.name])],
    // One at a time: whoever comes first has the name, and the token's last use.
    workers: 1,
    maxBackoffMs: 10_000,
  });
  const cleaning = createController(deps, {
    name: 'token-cleaner',
    watches: [watch(tokens, ({ metadata }) => [`${metadata.namespace}/${metadata.name}`])],
    workers: 1,
    async reconcile(key, { signal }) {
      const secret = tokens.get(key);
      const expiresAt = secret && readToken(secret).expiresAt;
      if (!secret || expiresAt === undefined || Number.isNaN(expiresAt)) return {};
      const leftMs = expiresAt + KEEP_EXPIRED_MS - clock.now();
      if (leftMs > 0) return { requeueAfterMs: Math.min(leftMs, LOOK_MS) };
      const { name, namespace, uid, resourceVersion } = secret.metadata;
      await client
        .kind<Secret>(secretKind)
        .delete(name, namespace, { uid: uid ?? '', resourceVersion: resourceVersion ?? '' }, signal);
      return {};
    },
  });
  return { name: 'signing', run: (signal) => runAll([signing, cleaning], signal) };
}
