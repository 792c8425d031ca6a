/** Who is calling. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  /** Of a node that joined: the UID of its Node, which its certificate carries. */
  readonly nodeUid?: string;
}

/** The group of everybody who is somebody. */
export const AUTHENTICATED = 'system:authenticated';
