// Renders docs/api/<kind>.yaml: every field of the spec with its description, and its default or an example.
import { stringify } from 'yaml';
import { EXAMPLES } from './examples.ts';
import { apiVersionOf, type CustomKind } from './kind.ts';
import { toOpenApi, type OpenApiSchema } from './open-api.ts';

/** Fields whose inside is documented in a file of its own. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'Service.template.spec': 'Every field of docs/api/container.yaml.',
  'Service.volumeTemplates[].spec': 'Every field of docs/api/volume.yaml.',
};

/** The text of the file of `kind`. Throws when a field of the schema has neither a default nor an example. */
export function renderApiDocument(kind: CustomKind): string {
  const example = EXAMPLES[kind.singular];
  if (!example) throw new Error(`there is no example of ${kind.kind} in crds/examples.ts`);
  const spec = fields(toOpenApi(kind.spec), asValues(example.shown), asValues(example.instead), kind.kind);
  const lines = [
    `# Every field that can be written in ${kind.kind === 'Image' ? 'an' : 'a'} ${kind.kind}, with its default where it has one and an example where it has none.`,
    '# A field with a "#" in the first column is one that cannot stand beside those that are shown.',
    `# What windlass writes is in status: see "kubectl explain ${kind.singular}.status".`,
    '# Generated from crds/ by "npm run generate".',
    `apiVersion: ${apiVersionOf(kind)}`,
    `kind: ${kind.kind}`,
    'metadata:',
    `  name: ${example.name}`,
    'spec:',
    ...indent(spec).map(({ text, isOff }) => (isOff ? `#${text}` : text)),
  ];
  return `${lines.join('\n')}\n`;
}

type Values = Readonly<Record<string, unknown>>;

interface Line {
  readonly text: string;
  /** Belongs to a field that is not shown live: gets a "#" in the first column. */
  readonly isOff: boolean;
}

function fields(schema: OpenApiSchema, shown: Values, instead: Values, path: string): Line[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const at = `${path}.${name}`;
    const heading = { text: `# ${describe(property, at)}`, isOff: false };
    const example = shown[name] ?? property.default;
    const other = instead[name];
    if (example !== undefined) return [heading, ...field(name, property, example, other, at)];
    if (other === undefined) throw new Error(`crds/examples.ts has nothing for ${at}`);
    return [heading, ...field(name, property, other, other, at).map(({ text }) => ({ text, isOff: true }))];
  });
}

/** One field with its value; the first item of a list of objects is shown with all its fields, the others as they are. */
function field(name: string, schema: OpenApiSchema, value: unknown, instead: unknown, path: string): Line[] {
  const head = { text: `${name}:`, isOff: false };
  if (schema.properties && !ELSEWHERE[path]) {
    return [head, ...indent(fields(schema, asValues(value), asValues(instead), path))];
  }
  if (schema.items?.properties && Array.isArray(value)) {
    const [first, ...rest] = value as unknown[];
    const [otherFirst] = Array.isArray(instead) ? (instead as unknown[]) : [];
    const items = [fields(schema.items, asValues(first), asValues(otherFirst), `${path}[]`), ...rest.map(plain)];
    return [head, ...items.flatMap((lines) => indent(asItem(lines)))];
  }
  return plain({ [name]: value });
}

const asValues = (value: unknown): Values => (value ?? {}) as Values;
const indent = (lines: Line[]): Line[] => lines.map(({ text, isOff }) => ({ text: `  ${text}`, isOff }));
const asItem = (lines: Line[]): Line[] =>
  indent(lines).map(({ text, isOff }, index) => ({ text: index === 0 ? `- ${text.slice(2)}` : text, isOff }));

function plain(value: unknown): Line[] {
  const text = stringify(value, { lineWidth: 0 }).trimEnd();
  return text.split('\n').map((line) => ({ text: line, isOff: false }));
}

function describe(schema: OpenApiSchema, path: string): string {
  const parts = [schema.description ?? ''];
  if (ELSEWHERE[path]) parts.push(ELSEWHERE[path]);
  const values = (schema['enum'] ?? schema.items?.['enum']) as unknown[] | undefined;
  if (values) parts.push(`One of ${values.join(', ')}.`);
  if (schema.default !== undefined && !isEmptyObject(schema.default))
    parts.push(`Default: ${JSON.stringify(schema.default)}.`);
  return parts.join(' ');
}

const isEmptyObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0;
