// The key of this node's end of all tunnels: made here, and the private half goes nowhere but into the kernel.
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';
import { isWireguardKey } from '../host/wireguard.ts';
import { writeRecordFile } from '../store/record-file.ts';

/** An older one is replaced. The keys that packets are encrypted with are agreed upon anew every two minutes by the kernels. */
export const TUNNEL_KEY_LIFETIME_MS = 7 * 24 * 3600_000;

export interface TunnelKey {
  /** Base64. */
  readonly publicKey: string;
  /** 32 bytes. */
  readonly privateKey: Buffer;
  /** When it was made. */
  readonly bornMs: number;
}

/** The key in `file`; undefined when it is absent or holds none. One that others could read is not used again. */
export function readTunnelKey(file: string): TunnelKey | undefined {
  try {
    const { mode, mtimeMs } = statSync(file);
    const { publicKey, privateKey } = JSON.parse(readFileSync(file, 'utf8')) as Record<
      'publicKey' | 'privateKey',
      unknown
    >;
    const isWhole = [publicKey, privateKey].every((key) => typeof key === 'string' && isWireguardKey(key));
    if (!isWhole || (mode & 0o077) !== 0) return undefined;
    return { publicKey: String(publicKey), privateKey: Buffer.from(String(privateKey), 'base64'), bornMs: mtimeMs };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Puts a new key into `file`, in place of the old one, for root's eyes only. */
export function makeTunnelKey(file: string): TunnelKey {
  const { privateKey } = generateKeyPairSync('x25519');
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' });
  const [secret, open] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url').toString('base64')];
  writeRecordFile(file, JSON.stringify({ publicKey: open, privateKey: secret.toString('base64') }), 0o600);
  // Whatever was there before under the temporary name.
  chmodSync(file, 0o600);
  return { publicKey: open, privateKey: secret, bornMs: statSync(file).mtimeMs };
}

/** Whether the key must be replaced now. Also one from the future: a clock that was set back would keep it for ever. Pure. */
export const isTunnelKeyOld = ({ bornMs }: Pick<TunnelKey, 'bornMs'>, nowMs: number): boolean =>
  Math.abs(nowMs - bornMs) > TUNNEL_KEY_LIFETIME_MS;
