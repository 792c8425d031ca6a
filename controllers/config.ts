import { z } from 'zod';
import type { ControllerOptions } from './compose.ts';
import { DEFAULT_WIREGUARD_PORT } from './network/encryption.ts';
import { DEFAULT_VXLAN_PORT } from './network/overlay.ts';

const seconds = (minimum: number): z.ZodCoercedNumber => z.coerce.number().int().min(minimum);

/** Options of the controllers process; see docs of loadConfig() for where they come from. */
export const Config = z.object({
  home: z.string().optional(),
  run: z.string().optional(),
  kubeconfig: z.string({ error: 'is required: the kubeconfig of the controllers' }),
  /** The authority that signs the certificates of nodes, PEM files; without them nobody can join. */
  caCert: z.string().optional(),
  caKey: z.string().optional(),
  /** How long the certificate of a node lasts. */
  nodeCertificateSeconds: seconds(10).default(90 * 24 * 3600),
  logLevel: z.string().default('info'),
  metricsListen: z.string().default('127.0.0.1:0'),
  /** No node counts as dead before it was silent for so long, whatever its Lease says (40 s unless the agent says otherwise). */
  nodeMonitorGraceSeconds: seconds(1).optional(),
  /** Time from then until its Containers are released to run elsewhere. */
  evictionDelaySeconds: seconds(0).default(20),
  /** Whether replicas are moved to nodes that joined or came back, when that spreads their Service better. */
  rebalance: z.enum(['off', 'dry-run', 'on']).default('off'),
  /** Moves under way at the same time. */
  rebalanceMoves: z.coerce.number().int().min(1).default(1),
  /** How long a node has to be Ready before replicas are moved to it. */
  rebalanceSettleSeconds: seconds(0).default(30),
  /** UDP port that overlays use between nodes. */
  vxlanPort: z.coerce.number().int().min(1).max(65_535).default(DEFAULT_VXLAN_PORT),
  /** UDP port that encrypted overlays use between nodes. */
  wireguardPort: z.coerce.number().int().min(1).max(65_535).default(DEFAULT_WIREGUARD_PORT),
  /** How often an autoscaled Service is looked at. */
  autoscaleSyncSeconds: seconds(1).default(15),
  /** How long the most replicas that were asked for stay before an autoscaled Service gets fewer. */
  autoscaleDownWindowSeconds: seconds(0).default(300),
  /** How long a leader that died keeps the others waiting. */
  leaseDurationSeconds: seconds(1).default(15),
});

/** The same in the terms of the controllers. */
export function optionsOf(config: z.infer<typeof Config>): ControllerOptions {
  const { rebalance: mode, rebalanceMoves: maxMoves, rebalanceSettleSeconds } = config;
  return {
    times: {
      minGraceMs: (config.nodeMonitorGraceSeconds ?? 0) * 1000,
      evictionDelayMs: config.evictionDelaySeconds * 1000,
    },
    rebalancer: mode === 'off' ? undefined : { mode, maxMoves, settleMs: rebalanceSettleSeconds * 1000 },
    autoscale: {
      syncMs: config.autoscaleSyncSeconds * 1000,
      downWindowMs: config.autoscaleDownWindowSeconds * 1000,
    },
    vxlanPort: config.vxlanPort,
    wireguardPort: config.wireguardPort,
  };
}
