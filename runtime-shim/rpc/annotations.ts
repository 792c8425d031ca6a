// What callers say by annotation because CRI has no field for it. They are the caller's, never the image's: labels of
// an image stay data.
import { z } from 'zod';
import { RUNTIME_ANNOTATIONS } from '../../cri/annotations.ts';
import { WindlassError } from '../../lib/errors.ts';
import { POD_NETWORK } from '../network/pod-network.ts';

const attachmentsSchema = z.array(
  z.object({
    network: z.string().min(1),
    ipv4Address: z.string().optional(),
    ipv6Address: z.string().optional(),
    macAddress: z.string().optional(),
    names: z.array(z.string()).default([]),
  }),
);
const hostAliasesSchema = z.array(
  z.object({ ip: z.string().regex(/^[0-9a-fA-F.:]+$/), hostnames: z.array(z.string().regex(/^[\w.-]+$/)) }),
);
const tmpfsSchema = z.array(
  z.object({
    path: z.string(),
    sizeBytes: z.number().min(0).default(0),
    mode: z.number().int().min(0).max(0o7777).default(0o1777),
  }),
);
const ulimitsSchema = z.array(z.object({ name: z.string(), soft: z.number(), hard: z.number() }));
const groupsSchema = z.array(z.string());

type Annotations = Readonly<Record<string, string>>;

function parse<T>(annotations: Annotations, key: string, schema: z.ZodType<T>): T | undefined {
  const text = annotations[key];
  if (text === undefined || text === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new WindlassError('Invalid', `annotation ${key} is not JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new WindlassError('Invalid', `annotation ${key}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
  }
  return result.data;
}

function parseNumber(annotations: Annotations, key: string): number | undefined {
  const text = annotations[key];
  if (text === undefined || text === '') return undefined;
  if (!/^-?\d{1,15}$/.test(text)) throw new WindlassError('Invalid', `annotation ${key}: not a whole number`);
  return Number(text);
}

function parseCount(annotations: Annotations, key: string): number | undefined {
  const count = parseNumber(annotations, key);
  if (count !== undefined && count < 0) throw new WindlassError('Invalid', `annotation ${key}: must not be negative`);
  return count;
}

/** Absent = one attachment to the pod network. */
export const attachmentsOf = (annotations: Annotations) =>
  parse(annotations, RUNTIME_ANNOTATIONS.attachments, attachmentsSchema) ?? [{ network: POD_NETWORK, names: [] }];
export const hostAliasesOf = (annotations: Annotations) =>
  parse(annotations, RUNTIME_ANNOTATIONS.hostAliases, hostAliasesSchema) ?? [];
export const tmpfsOf = (annotations: Annotations) => parse(annotations, RUNTIME_ANNOTATIONS.tmpfs, tmpfsSchema) ?? [];
export const ulimitsOf = (annotations: Annotations) =>
  parse(annotations, RUNTIME_ANNOTATIONS.ulimits, ulimitsSchema) ?? [];
/** Names and numbers; numbers are given to CRI's own field too, twice does no harm. */
export const groupsOf = (annotations: Annotations) =>
  parse(annotations, RUNTIME_ANNOTATIONS.groups, groupsSchema) ?? [];
export const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;
export const shmSizeOf = (annotations: Annotations) =>
  parseNumber(annotations, RUNTIME_ANNOTATIONS.shmSize) ?? DEFAULT_SHM_BYTES;
export const pidsLimitOf = (annotations: Annotations) => parseNumber(annotations, RUNTIME_ANNOTATIONS.pidsLimit);
/** Bytes and inodes of the writable layer; 0 = no limit, absent = the default of the shim. */
export const ephemeralStorageOf = (annotations: Annotations) =>
  parseCount(annotations, RUNTIME_ANNOTATIONS.ephemeralStorage);
export const ephemeralInodesOf = (annotations: Annotations) =>
  parseCount(annotations, RUNTIME_ANNOTATIONS.ephemeralInodes);
export const wantsInit = (annotations: Annotations) => annotations[RUNTIME_ANNOTATIONS.init] === 'true';
export const domainnameOf = (annotations: Annotations) => annotations[RUNTIME_ANNOTATIONS.domainname] ?? '';
/** Container paths of the mounts whose host path is without links, and must not lead over one now. */
export const noFollowOf = (annotations: Annotations) =>
  parse(annotations, RUNTIME_ANNOTATIONS.noFollow, groupsSchema) ?? [];
/** Undefined = the writable layer lives and dies with the container. */
export function rootfsKeyOf(annotations: Annotations): string | undefined {
  const key = annotations[RUNTIME_ANNOTATIONS.rootfsKey];
  if (key === undefined || key === '') return undefined;
  if (!/^[a-z0-9][a-z0-9.-]{0,99}$/.test(key)) {
    throw new WindlassError(
      'Invalid',
      `annotation ${RUNTIME_ANNOTATIONS.rootfsKey}: invalid key ${JSON.stringify(key)}`,
    );
  }
  return key;
}
