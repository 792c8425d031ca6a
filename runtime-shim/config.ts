import { z } from 'zod';
import { DEFAULT_HOME, DEFAULT_RUN } from '../lib/instance.ts';

/** Flags of the runtime shim. */
export const Config = z.object({
  home: z.string().startsWith('/').default(DEFAULT_HOME),
  run: z.string().startsWith('/').default(DEFAULT_RUN),
  logLevel: z.string().default('info'),
  metricsListen: z.string().default('127.0.0.1:0'),
  /** auto (crun where it proves to work, else runc), runc, crun or a path. */
  ociRuntime: z.string().default('auto'),
  /** Range for sandboxes that name no network; auto = the first of 10.200.0.0/16 and on that is free here. */
  podCidr: z.string().default('auto'),
  /** Sandboxes kept ready for the next starts; 0 = each is made when it is asked for. */
  sandboxPool: z.coerce.number().int().min(0).max(256).default(8),
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
