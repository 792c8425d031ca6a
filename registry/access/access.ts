// Who may do what in which repository. The registry knows no users of its own: it asks whatever stands behind this.
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { isLoopbackHost } from '../../lib/host-port.ts';
import { refuse } from '../oci-errors.ts';

export type Action = 'pull' | 'push' | 'delete';

export interface Caller {
  /** For the log. */
  readonly name: string;
  /** Nobody in particular. */
  readonly isAnonymous: boolean;
  /** Whether it came with a token for some things, and may get another for more. */
  readonly hasPartialToken: boolean;
  may(action: Action, repository: string): Promise<boolean>;
  /** Whether the names of all repositories may be listed. */
  mayList(): Promise<boolean>;
}

export interface Access {
  /** Who sends a request. Throws UNAUTHORIZED for credentials that are wrong; none at all are those of nobody. */
  identify(headers: IncomingHttpHeaders, socket: Socket): Promise<Caller>;
  /**
   * The WWW-Authenticate header for whom `actions` are refused who has not said who it is; `origin` is the registry as
   * the client called it, e.g. `https://registry.example.com:5050`.
   */
  challenge(repository: string | undefined, actions: readonly Action[], origin: string): string;
}

/** Whether a refusal should ask for (other) credentials instead of being final. */
export const mayShowMore = ({ isAnonymous, hasPartialToken }: Caller): boolean => isAnonymous || hasPartialToken;

const everybody: Caller = {
  name: 'anonymous',
  isAnonymous: true,
  hasPartialToken: false,
  may: () => Promise.resolve(true),
  mayList: () => Promise.resolve(true),
};

/**
 * Everybody may do everything: for a registry that only this machine reaches. A page in a browser here is not this
 * machine: what calls the registry by another name than a loopback one is refused (DNS rebinding).
 */
export const openAccess: Access = {
  identify({ host = '' }) {
    const name = /^\[?([^\]]*?)\]?(?::\d+)?$/.exec(host)?.[1] ?? '';
    if (isLoopbackHost(name)) return Promise.resolve(everybody);
    return Promise.reject(
      refuse('DENIED', `${JSON.stringify(host.slice(0, 255))} is not a loopback name of this registry`),
    );
  },
  challenge: () => 'Basic realm="windlass"',
};
