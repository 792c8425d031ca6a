// The network that the RUN steps of one build share: a sandbox's place in a network of this node, without the sandbox.

/** What a step gets of it. */
export interface BuildConnection {
  /** The pinned net namespace. */
  readonly netnsPath: string;
  /** Text of /etc/resolv.conf. */
  readonly resolvConf: string;
  readonly ipv4Address: string;
}

/** Disposed at the end of the build, when no step is in it any more: namespace and address are given back. */
export interface BuildNetwork extends AsyncDisposable {
  /** Made with the first call; the same from then on. NotFound for a network that is not on this node. */
  connect(): Promise<BuildConnection>;
}
