// What a node agent tells the API server of the use of CPU and memory on its node; the server shows it as metrics.k8s.io.

export interface Usage {
  /** Cores, on average over the window. */
  readonly cpuCores: number;
  /** Memory that cannot be freed at once. */
  readonly memoryBytes: number;
  /** When it was measured, and over how long. */
  readonly atMs: number;
  readonly windowMs: number;
}

export interface ContainerUsageReport extends Usage {
  readonly namespace: string;
  readonly name: string;
  /** UID of the Container: its name may have belonged to another one. */
  readonly uid: string;
}

export interface UsageReport {
  readonly node: Usage;
  readonly containers: readonly ContainerUsageReport[];
}
