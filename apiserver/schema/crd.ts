// CustomResourceDefinitions: what makes one acceptable, and the resource that one of its versions is served as.
import { WindlassError } from '../../lib/errors.ts';
import type { PrinterColumn } from '../../crds/kind.ts';
import type { Resource, ScalePaths, StoredObject } from '../resources/resource.ts';
import { parseJsonPath, type JsonPath } from '../table/json-path.ts';
import { compileRules, checkRules } from './cel.ts';
import type { FieldError, FieldErrorType } from './field-error.ts';
import { isObject } from './objects.ts';
import { validateStructural } from './structural-rules.ts';
import type { StructuralSchema } from './structural.ts';

export interface CrdVersion {
  readonly name: string;
  readonly served: boolean;
  readonly storage: boolean;
  readonly deprecated?: boolean;
  readonly deprecationWarning?: string;
  readonly schema?: { readonly openAPIV3Schema?: StructuralSchema };
  readonly subresources?: { readonly status?: object; readonly scale?: ScalePaths };
  readonly additionalPrinterColumns?: readonly PrinterColumn[];
  readonly selectableFields?: readonly { readonly jsonPath: string }[];
}

/** A CustomResourceDefinition that passed validation. */
export interface CustomResourceDefinition {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: 'Namespaced' | 'Cluster';
    readonly names: {
      readonly plural: string;
      readonly singular?: string;
      readonly kind: string;
      readonly listKind?: string;
      readonly shortNames?: readonly string[];
      readonly categories?: readonly string[];
    };
    readonly versions: readonly CrdVersion[];
  };
}

const LABEL = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;
const KIND = /^[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const COLUMN_TYPES = ['integer', 'number', 'string', 'boolean', 'date'];
const MAX_VERSIONS = 50;
const MAX_SELECTABLE_FIELDS = 8;

const ALL_VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'] as const;
const DEFAULT_COLUMNS: readonly PrinterColumn[] = [
  {
    name: 'Age',
    type: 'date',
    jsonPath: '.metadata.creationTimestamp',
    description: 'How long ago the object was created.',
  },
];

type Report = (field: string, detail: string, type?: FieldErrorType, value?: unknown) => void;

/** What `crd` breaks: names, versions, the rules of structural schemas, CEL rules. Takes any JSON object. */
export function validateCustomResourceDefinition(crd: object): FieldError[] {
  const errors: FieldError[] = [];
  const report: Report = (field, detail, type = 'FieldValueInvalid', value) => {
    errors.push({ type, field, detail, ...(value === undefined ? {} : { value }) });
  };
  const spec: unknown = (crd as { spec?: unknown }).spec;
  if (!isObject(spec)) return [{ type: 'FieldValueRequired', field: 'spec', detail: '' }];
  validateNames(crd, spec, report);
  validateConversion(spec['conversion'], report);
  const versions = spec['versions'];
  if (!Array.isArray(versions) || versions.length === 0) {
    report('spec.versions', 'must have at least one version', 'FieldValueRequired');
    return errors;
  }
  validateVersions(versions.slice(0, MAX_VERSIONS).filter(isObject), report);
  if (versions.length > MAX_VERSIONS) {
    report('spec.versions', `must have at most ${MAX_VERSIONS} items`, 'FieldValueTooMany', versions.length);
  }
  for (const [index, version] of versions.slice(0, MAX_VERSIONS).entries()) {
    if (isObject(version)) errors.push(...validateVersion(version, `spec.versions[${index}]`));
  }
  return errors;
}

function validateNames(crd: object, spec: Record<string, unknown>, report: Report): void {
  const names = isObject(spec['names']) ? spec['names'] : {};
  const { group, scope } = spec;
  const expectText = (field: string, value: unknown, pattern: RegExp, detail: string): void => {
    if (value === undefined || value === '') report(field, '', 'FieldValueRequired');
    else if (typeof value !== 'string' || !pattern.test(value)) report(field, detail, 'FieldValueInvalid', value);
  };
  expectText('spec.group', group, SUBDOMAIN, 'must be a lower-case domain name, e.g. example.com');
  if (typeof group === 'string' && !group.includes('.')) {
    report('spec.group', 'should be a domain with at least one dot', 'FieldValueInvalid', group);
  }
  const label = 'must consist of lower case letters, digits and "-", and start with a letter';
  expectText('spec.names.plural', names['plural'], LABEL, label);
  expectText(
    'spec.names.kind',
    names['kind'],
    KIND,
    'must consist of letters, digits and "-", and start with a letter',
  );
  if (names['singular'] !== undefined) expectText('spec.names.singular', names['singular'], LABEL, label);
  for (const key of ['shortNames', 'categories']) {
    const list = names[key];
    if (!Array.isArray(list)) continue;
    for (const [index, name] of list.entries()) expectText(`spec.names.${key}[${index}]`, name, LABEL, label);
  }
  if (names['listKind'] !== undefined && names['listKind'] === names['kind']) {
    report('spec.names.listKind', 'kind and listKind may not be the same', 'FieldValueInvalid', names['listKind']);
  }
  if (scope !== 'Namespaced' && scope !== 'Cluster') {
    report('spec.scope', 'supported values: "Cluster", "Namespaced"', 'FieldValueNotSupported', scope ?? '');
  }
  const expected = `${String(names['plural'])}.${String(group)}`;
  const { metadata } = crd as { metadata?: { name?: unknown } };
  if (metadata?.name !== expected) {
    report('metadata.name', 'must be spec.names.plural+"."+spec.group', 'FieldValueInvalid', metadata?.name ?? '');
  }
}

function validateConversion(conversion: unknown, report: Report): void {
  const strategy = isObject(conversion) ? (conversion['strategy'] ?? 'None') : 'None';
  if (strategy !== 'None') {
    report('spec.conversion.strategy', 'supported values: "None"', 'FieldValueNotSupported', strategy);
  }
}

function validateVersions(versions: readonly Record<string, unknown>[], report: Report): void {
  const names = versions.map((version) => version['name']);
  for (const [index, name] of names.entries()) {
    if (typeof name !== 'string' || !LABEL.test(name)) {
      report(`spec.versions[${index}].name`, 'must be a label such as v1', 'FieldValueInvalid', name ?? '');
    } else if (names.indexOf(name) !== index) {
      report(`spec.versions[${index}].name`, '', 'FieldValueDuplicate', name);
    }
  }
  if (versions.filter((version) => version['storage'] === true).length !== 1) {
    report('spec.versions', 'must have exactly one version marked as storage version', 'FieldValueInvalid', names);
  }
}

function validateVersion(version: Record<string, unknown>, path: string): FieldError[] {
  const holder = version['schema'];
  const at = `${path}.schema.openAPIV3Schema`;
  const schema = isObject(holder) ? holder['openAPIV3Schema'] : undefined;
  if (!isObject(schema)) return [{ type: 'FieldValueRequired', field: at, detail: 'schemas are required' }];
  const errors = validateStructural(schema, at);
  // Rules are compiled against a schema of the right shape only.
  if (errors.length === 0) errors.push(...checkRules(schema, at));
  errors.push(...validateColumns(version['additionalPrinterColumns'], `${path}.additionalPrinterColumns`));
  errors.push(...validateSelectableFields(version['selectableFields'], `${path}.selectableFields`));
  const subresources = version['subresources'];
  if (isObject(subresources)) errors.push(...validateScale(subresources['scale'], `${path}.subresources.scale`));
  return errors;
}

function validateColumns(columns: unknown, path: string): FieldError[] {
  if (!Array.isArray(columns)) return [];
  return columns.filter(isObject).flatMap((column, index) => {
    const at = `${path}[${index}]`;
    const errors = pathErrors(column['jsonPath'], `${at}.jsonPath`);
    if (typeof column['name'] !== 'string' || column['name'] === '') {
      errors.push({ type: 'FieldValueRequired', field: `${at}.name`, detail: '' });
    }
    if (!COLUMN_TYPES.includes(String(column['type']))) {
      const detail = `supported values: ${COLUMN_TYPES.map((each) => JSON.stringify(each)).join(', ')}`;
      errors.push({ type: 'FieldValueNotSupported', field: `${at}.type`, value: column['type'] ?? '', detail });
    }
    return errors;
  });
}

function validateSelectableFields(fields: unknown, path: string): FieldError[] {
  if (!Array.isArray(fields)) return [];
  const errors = fields.flatMap((field, index) =>
    pathErrors(isObject(field) ? field['jsonPath'] : undefined, `${path}[${index}].jsonPath`, true),
  );
  if (fields.length > MAX_SELECTABLE_FIELDS) {
    const detail = `must have at most ${MAX_SELECTABLE_FIELDS} items`;
    errors.push({ type: 'FieldValueTooMany', field: path, value: fields.length, detail });
  }
  return errors;
}

function validateScale(scale: unknown, path: string): FieldError[] {
  if (!isObject(scale)) return [];
  const errors = [
    ...pathErrors(scale['specReplicasPath'], `${path}.specReplicasPath`, true),
    ...pathErrors(scale['statusReplicasPath'], `${path}.statusReplicasPath`, true),
  ];
  if (scale['labelSelectorPath'] !== undefined) {
    errors.push(...pathErrors(scale['labelSelectorPath'], `${path}.labelSelectorPath`, true));
  }
  return errors;
}

function pathErrors(value: unknown, field: string, mustBePlain = false): FieldError[] {
  if (typeof value !== 'string' || value === '') return [{ type: 'FieldValueRequired', field, detail: '' }];
  try {
    const { fields } = parseJsonPath(value);
    if (!mustBePlain || fields !== undefined) return [];
  } catch (error) {
    return [{ type: 'FieldValueInvalid', field, value, detail: (error as Error).message }];
  }
  return [{ type: 'FieldValueInvalid', field, value, detail: 'must be a simple path of fields with leading .' }];
}

/**
 * The resource that `version` of a valid `crd` is served as. NotFound when it has no such version; Invalid when a rule
 * of its schema does not compile.
 */
export function resourceFromCrd(crd: CustomResourceDefinition, version: string): Resource {
  const { group, scope, names, versions } = crd.spec;
  const served = versions.find((each) => each.name === version);
  if (!served) throw new WindlassError('NotFound', `${crd.metadata.name} has no version ${version}`);
  const schema = served.schema?.openAPIV3Schema ?? {};
  const columns = served.additionalPrinterColumns ?? [];
  const scale = served.subresources?.scale;
  const selectable = (served.selectableFields ?? []).map((field) => selectableField(field.jsonPath));
  const deprecation = served.deprecated === true ? deprecationWarning(crd, served) : undefined;
  return {
    group,
    version,
    kind: names.kind,
    listKind: names.listKind ?? `${names.kind}List`,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: scope === 'Namespaced',
    verbs: ALL_VERBS,
    custom: true,
    schema,
    columns: columns.length > 0 ? columns : DEFAULT_COLUMNS,
    status: served.subresources?.status !== undefined,
    ...(scale ? { scale } : {}),
    ...(selectable.length > 0 ? selectableFieldsOf(selectable) : {}),
    rules: compileRules(schema),
    ...(deprecation === undefined ? {} : { deprecation }),
  };
}

function deprecationWarning(crd: CustomResourceDefinition, version: CrdVersion): string {
  return version.deprecationWarning ?? `${crd.spec.group}/${version.name} ${crd.spec.names.kind} is deprecated`;
}

interface SelectableField {
  readonly name: string;
  readonly path: JsonPath;
}

function selectableField(jsonPath: string): SelectableField {
  return { name: jsonPath.replace(/^\./, ''), path: parseJsonPath(jsonPath) };
}

function selectableFieldsOf(
  fields: readonly SelectableField[],
): Required<Pick<Resource, 'selectableFields' | 'selectableFieldNames'>> {
  // Read once per version of an object: every agent lists by its node, and walks over the objects of all others.
  const known = new WeakMap<StoredObject, Record<string, string>>();
  const read = (object: StoredObject): Record<string, string> =>
    Object.fromEntries(fields.map(({ name, path }) => [name, scalarText(path.evaluate(object)[0])]));
  return {
    selectableFieldNames: fields.map((field) => field.name),
    selectableFields(object) {
      let values = known.get(object);
      if (!values) known.set(object, (values = read(object)));
      return values;
    },
  };
}

const scalarText = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
