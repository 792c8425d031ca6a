import { z } from 'zod';
import { DEFAULT_DISK_RESERVE } from '../lib/disk-reserve.ts';
import { DEFAULT_HOME, DEFAULT_RUN } from '../lib/instance.ts';
import { quantityFlag } from '../lib/quantity-flag.ts';
import type { StorageRules } from './storage/layer-limits.ts';

/** Flags of the runtime shim. */
export const Config = z.object({
  home: z.string().startsWith('/').default(DEFAULT_HOME),
  run: z.string().startsWith('/').default(DEFAULT_RUN),
  logLevel: z.string().default('info'),
  metricsListen: z.string().default('127.0.0.1:0'),
  /** auto (crun where it proves to work, else runc), runc, crun or a path. */
  ociRuntime: z.string().default('auto'),
  /** Range for sandboxes that name no network; auto = one of 10.200.0.0/16 to 10.223.0.0/16 that is free here. */
  podCidr: z.string().default('auto'),
  /** Sandboxes kept ready for the next starts; 0 = each is made when it is asked for. */
  sandboxPool: z.coerce.number().int().min(0).max(256).default(8),
  /** Most bytes that a container without a limit of its own may write into its root file system; 0 = any. */
  ephemeralStorageLimit: quantityFlag('0'),
  /** The same for files and folders. */
  ephemeralInodesLimit: quantityFlag('0'),
  /** What a nearly full disk keeps for the node: 5 %, at most this; 0 = nothing is kept. */
  diskReserve: quantityFlag(DEFAULT_DISK_RESERVE),
  /** Most bytes that the layer cache of builds keeps; 0 = nothing is kept for long. */
  buildCacheSize: quantityFlag('10Gi'),
  /** YAML or JSON file with the mirror table. */
  registriesConfig: z.string().optional(),
  /** References, separated by commas, of images that whoever frees disk space should leave (Image.pinned of CRI). */
  pinnedImages: z
    .string()
    .default('')
    .transform((text) =>
      text
        .split(',')
        .map((each) => each.trim())
        .filter((each) => each !== ''),
    ),
});

/** The flags about disk space, as the calls read them. */
export const storageRules = (config: Readonly<z.infer<typeof Config>>): StorageRules => ({
  defaults: { bytes: config.ephemeralStorageLimit, inodes: config.ephemeralInodesLimit },
  reserve: { maxBytes: config.diskReserve },
});
