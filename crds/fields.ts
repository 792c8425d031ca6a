// Building blocks that several kinds share: names, addresses, references, quantities, conditions, and the
// Kubernetes schema extensions (rules, list types) as metadata of a zod schema.
import { z } from 'zod';

/** One CEL rule; `fieldPath` says below which field the error is shown. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired' | 'FieldValueDuplicate';
}

/** The schema with CEL rules on it (x-kubernetes-validations). */
export function withRules<T extends z.ZodType>(schema: T, ...rules: Rule[]): T {
  return schema.meta({ 'x-kubernetes-validations': rules }) as T;
}

/** A list whose items are told apart by `keys`: duplicates are refused, server-side apply merges item by item. */
export function listMap<T extends z.ZodType>(item: T, keys: readonly string[], maxItems: number): z.ZodArray<T> {
  return z
    .array(item)
    .max(maxItems)
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [...keys] });
}

/** A list without duplicates. */
export function listSet<T extends z.ZodType>(item: T, maxItems: number): z.ZodArray<T> {
  return z.array(item).max(maxItems).meta({ 'x-kubernetes-list-type': 'set' });
}

/** A list that is replaced as a whole. */
export function list<T extends z.ZodType>(item: T, maxItems: number): z.ZodArray<T> {
  return z.array(item).max(maxItems).meta({ 'x-kubernetes-list-type': 'atomic' });
}

/** Words that a CEL expression writes as `__word__` where they name a field. */
const CEL_WORDS = new Set(['import', 'namespace', 'in']);

/** CEL: how many of the named fields are present. */
export function countSet(...fields: string[]): string {
  const names = fields.map((field) => (CEL_WORDS.has(field) ? `__${field}__` : field));
  return `[${names.map((name) => `has(self.${name})`).join(', ')}].filter(present, present).size()`;
}

/** A string of a form, given as the source of a regular expression that RE2 and JavaScript read alike. */
export const pattern = (source: string, maxLength: number): z.ZodString =>
  z.string().max(maxLength).regex(new RegExp(source));

/**
 * The same, refused in words: a long regular expression tells a reader nothing, so the server checks it as a rule with
 * a message. `source` has no backslash and no quote.
 */
export const worded = (source: string, maxLength: number, message: string): z.ZodString =>
  withRules(pattern(source, maxLength), { rule: matchRule(source), message });

/** The rule by which worded() hides a pattern from the generated schema. */
export const matchRule = (source: string): string => `self.matches('${source}')`;

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
/** The name of another object (DNS-1123 subdomain). */
export const objectName = (): z.ZodString => pattern(`^${LABEL}(\\.${LABEL})*$`, 253);
/** A name that is one DNS label, e.g. a port's. */
export const dnsLabel = (): z.ZodString => pattern(`^${LABEL}$`, 63);
export const hostName = (): z.ZodString =>
  pattern('^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?(\\.[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?)*$', 253);

const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const IPV4 = `${OCTET}([.]${OCTET}){3}`;
const IPV6 = '([0-9a-fA-F]{0,4}:){2,7}([0-9a-fA-F]{0,4}|[0-9]{1,3}([.][0-9]{1,3}){3})';
export const ipv4 = (): z.ZodString => worded(`^${IPV4}$`, 15, 'must be an IPv4 address, e.g. 10.0.0.5');
export const ipv6 = (): z.ZodString => worded(`^${IPV6}$`, 45, 'must be an IPv6 address, e.g. fd00::5');
export const ipAddress = (): z.ZodString =>
  worded(`^(${IPV4}|${IPV6})$`, 45, 'must be an IP address, e.g. 10.0.0.5 or fd00::5');
/** In a status, which is written often and by programs: a pattern costs less than a rule, and nobody reads the message. */
export const observedAddress = (): z.ZodString => pattern(`^(${IPV4}|${IPV6})$`, 45);
export const observedMac = (): z.ZodString => pattern('^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$', 17);
/** An address, or the word Docker has for the node as a container sees it. */
export const hostAddress = (): z.ZodString =>
  worded(`^(${IPV4}|${IPV6}|host-gateway)$`, 45, 'must be an IP address, e.g. 10.0.0.5 or fd00::5, or host-gateway');
export const cidr = (): z.ZodString =>
  worded(
    `^(${IPV4}/(3[0-2]|[12]?[0-9])|${IPV6}/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$`,
    49,
    'must be a range of addresses, e.g. 10.50.0.0/24',
  );
/** Unicast only: the lowest bit of the first byte is 0. */
export const macAddress = (): z.ZodString =>
  worded(
    '^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$',
    17,
    'must be a unicast hardware address, e.g. 02:42:0a:00:00:05',
  );

const DOMAIN_PART = '[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?';
const REGISTRY = `(${DOMAIN_PART}([.]${DOMAIN_PART})*|[[][0-9a-fA-F:]+])(:[0-9]{1,5})?`;
const PATH_PART = '[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*';
const DIGEST = '(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})';
const TAG = '[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,127}';
/** `[registry/]repository[:tag][@digest]`, Docker's grammar. */
export const imageReference = (): z.ZodString =>
  worded(
    `^(${REGISTRY}/)?${PATH_PART}(/${PATH_PART})*(:${TAG})?(@${DIGEST})?$`,
    512,
    'malformed image reference: want [registry/]repository[:tag][@digest], e.g. nginx:1.27 or registry.example.org/team/app@sha256:...',
  );
export const digest = (): z.ZodString => pattern(`^${DIGEST}$`, 135);
export const platform = (): z.ZodString => pattern('^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$', 64);

/** Absolute path, not the root itself. Steps of `..` are refused, so that what is written is what is meant. */
export const absolutePath = (): z.ZodString =>
  withRules(pattern('^/+[^/\\x00][^\\x00]*$', 4096), {
    rule: "!self.matches('(^|/)[.][.](/|$)')",
    message: "must not contain '..'",
  });
/** Path below a given folder. */
export const relativePath = (): z.ZodString =>
  withRules(pattern('^[^/\\x00][^\\x00]*$', 4096), {
    rule: "!self.matches('(^|/)[.][.](/|$)')",
    message: "must be a relative path without '..'",
  });

/** `500m`, `64Mi`, `2` or `1.5`; never negative. */
export const quantity = (): z.ZodType<string | number, string | number> =>
  z.union([z.int(), z.string()]).meta({
    'x-kubernetes-int-or-string': true,
    minimum: 0,
    pattern: '^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+]?[0-9]{1,2})?$',
  });

export const integer = (minimum: number, maximum: number): z.ZodInt => z.int().min(minimum).max(maximum);
export const port = (): z.ZodInt => integer(1, 65535);
export const seconds = (minimum = 0): z.ZodInt => integer(minimum, 2_147_483_647);
/** Counts and sizes in bytes in a status. */
export const count = (): z.ZodInt => z.int().min(0);
/** RFC 3339 time. */
export const time = (): z.ZodString => z.string().meta({ format: 'date-time' });
/** Free map of strings, e.g. labels. */
export const stringMap = (): z.ZodRecord<z.ZodString, z.ZodString> => z.record(z.string(), z.string());

const Condition = z
  .object({
    type: z.string().min(1).max(316).describe('Which aspect of the object this is about, in CamelCase.'),
    status: z.enum(['True', 'False', 'Unknown']).describe('Whether the aspect holds.'),
    reason: z.string().max(1024).describe('Why, as one CamelCase word for programs.'),
    message: z.string().max(32768).describe('Why, as a sentence for people; names the culprit.'),
    lastTransitionTime: time().describe('When status last changed.'),
    observedGeneration: z.int().min(0).optional().describe('The metadata.generation this was found at.'),
  })
  .describe('One aspect of the observed state.');

/** The two fields that every status has. `conditions` names the kind's condition types. */
export const statusBase = (
  conditions: string,
): { observedGeneration: z.ZodOptional<z.ZodInt>; conditions: z.ZodOptional<z.ZodArray<typeof Condition>> } => ({
  observedGeneration: z.int().min(0).optional().describe('The metadata.generation that this status is about.'),
  conditions: listMap(Condition, ['type'], 32)
    .optional()
    .describe(`What is known of the object: ${conditions}. One that is not True names the culprit in its message.`),
});

/** JSONPaths of a condition, for printer columns. */
export const conditionPath = (type: string, field: 'status' | 'reason' | 'message'): string =>
  `.status.conditions[?(@.type=="${type}")].${field}`;
