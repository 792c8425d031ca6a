// Objects as the Table that `kubectl get` prints (meta.k8s.io Table).
// https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
import type { PrinterColumn } from '../../crds/kind.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import { formatAge } from './age.ts';
import { parseJsonPath, type JsonPath } from './json-path.ts';

export interface TableOptions {
  /** How much of each object goes with its row; kubectl's default is Metadata. */
  readonly includeObject: 'None' | 'Metadata' | 'Object';
  /** Milliseconds since the epoch that ages count from. */
  readonly now: number;
  /** The list's metadata (resourceVersion, continue, remainingItemCount). */
  readonly listMeta?: Readonly<Record<string, unknown>>;
  /** Leaves the column definitions out: every frame of a watch but the first. */
  readonly noHeaders?: boolean;
  /** Version of meta.k8s.io that was asked for. */
  readonly version?: 'v1' | 'v1beta1';
}

export interface TableColumn {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  readonly priority: number;
}

export interface Table {
  readonly kind: 'Table';
  readonly apiVersion: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly columnDefinitions: readonly TableColumn[] | null;
  readonly rows: readonly { readonly cells: readonly unknown[]; readonly object?: unknown }[];
}

const NAME_COLUMN: TableColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'The name of the object, unique among the objects of its kind and namespace.',
  priority: 0,
};

type Cells = (object: StoredObject, now: number) => unknown[];
interface Layout {
  readonly headers: readonly TableColumn[];
  readonly cells: Cells;
}

// Paths are parsed once per resource, and forgotten with it.
const layouts = new WeakMap<Resource, Layout>();

/** `objects` of `resource` as one Table. Cells that have no value are null. */
export function toTable(resource: Resource, objects: readonly StoredObject[], options: TableOptions): Table {
  const { headers, cells } = layoutOf(resource);
  const apiVersion = `meta.k8s.io/${options.version ?? 'v1'}`;
  return {
    kind: 'Table',
    apiVersion,
    metadata: options.listMeta ?? {},
    columnDefinitions: options.noHeaders === true ? null : headers,
    rows: objects.map((object) => ({
      cells: cells(object, options.now),
      ...rowObject(object, options.includeObject, apiVersion),
    })),
  };
}

function rowObject(
  object: StoredObject,
  include: TableOptions['includeObject'],
  apiVersion: string,
): { object?: unknown } {
  if (include === 'None') return {};
  if (include === 'Object') return { object };
  return { object: { kind: 'PartialObjectMetadata', apiVersion, metadata: object.metadata } };
}

function layoutOf(resource: Resource): Layout {
  let layout = layouts.get(resource);
  if (!layout) {
    layout = createLayout(resource);
    layouts.set(resource, layout);
  }
  return layout;
}

function createLayout(resource: Resource): Layout {
  const headers = resource.columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description ?? '',
    priority: column.priority ?? 0,
  }));
  const { row } = resource;
  const paths = row ? [] : resource.columns.map((column) => ({ column, path: safePath(column.jsonPath) }));
  const own: Cells = row ?? ((object, now) => paths.map(({ column, path }) => cell(column, path, object, now)));
  // A kind that places its name itself (Events do, late and for -o wide only) says so by the column's format.
  if (headers.some((header) => header.format === 'name')) return { headers, cells: own };
  return {
    headers: [NAME_COLUMN, ...headers],
    cells: (object, now) => [object.metadata.name, ...own(object, now)],
  };
}

// A path that cannot be parsed was refused when its CRD was written; an older one must not break `get`.
function safePath(text: string): JsonPath | undefined {
  try {
    return parseJsonPath(text);
  } catch {
    return undefined;
  }
}

function cell(column: PrinterColumn, path: JsonPath | undefined, object: StoredObject, now: number): unknown {
  const values = path?.evaluate(object) ?? [];
  const [first] = values;
  if (first === undefined || first === null) return column.type === 'date' ? '<unknown>' : null;
  switch (column.type) {
    case 'date':
      return formatAge(first, now);
    case 'integer':
      return typeof first === 'number' ? Math.trunc(first) : null;
    case 'number':
      return typeof first === 'number' ? first : null;
    case 'boolean':
      return typeof first === 'boolean' ? first : null;
    default:
      return values.map(shown).join(',');
  }
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
