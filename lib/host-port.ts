// `host:port`, the form of every --*-listen flag.
import { isIP } from 'node:net';
import { WindlassError } from './errors.ts';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Parses `127.0.0.1:6443`, `[::1]:6443` or `:6443` (all addresses). Throws BadRequest that quotes the text. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new WindlassError(
      'BadRequest',
      `invalid listen address ${JSON.stringify(text)}: want host:port, e.g. 127.0.0.1:6443`,
    );
  }
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}

/** The inverse of parseHostPort(): brackets around an IPv6 address. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for a host that only this machine reaches; an IPv6 address may be in brackets, as in a URL. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'));
}
