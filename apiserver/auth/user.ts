/** Who is calling. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  /** Of a node that joined: the UID of its Node, which its certificate carries. */
  readonly nodeUid?: string;
  /** Of somebody who is impersonated, where the request gives one. */
  readonly uid?: string;
  /** What else a request says about who it impersonates. */
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** The group of everybody who is somebody. */
export const AUTHENTICATED = 'system:authenticated';

/** Nobody in particular, who can be impersonated and asked about. */
export const ANONYMOUS = 'system:anonymous';
export const UNAUTHENTICATED = 'system:unauthenticated';
