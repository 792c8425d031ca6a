// Label and field selectors. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
import { badRequest } from './api-errors.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';

export type Predicate = (object: StoredObject) => boolean;

interface LabelRequirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | '!' | 'gt' | 'lt';
  readonly values: readonly string[];
}

const KEY = /^(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const VALUE = /^(?:[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** Whether `key` can be the key of a label. */
export const isLabelKey = (key: string): boolean => KEY.test(key) && key.length <= 317;
export const isLabelValue = (value: string): boolean => VALUE.test(value);

/** The predicate of a label selector; BadRequest that quotes the part that cannot be understood. */
export function parseLabelSelector(text: string): Predicate {
  const requirements = splitTopLevel(text).map(parseRequirement);
  return (object) => {
    const labels = object.metadata.labels ?? {};
    return requirements.every((requirement) => matches(requirement, labels));
  };
}

function matches({ key, operator, values }: LabelRequirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'exists':
      return value !== undefined;
    case '!':
      return value === undefined;
    case 'in':
      return value !== undefined && values.includes(value);
    case 'notin':
      return value === undefined || !values.includes(value);
    case 'gt':
      return isInteger(value) && Number(value) > Number(values[0]);
    case 'lt':
      return isInteger(value) && Number(value) < Number(values[0]);
  }
}

const isInteger = (value: string | undefined): boolean => value !== undefined && /^-?\d{1,18}$/.test(value);

/** Splits at commas that are not inside parentheses. */
function splitTopLevel(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let index = 0; index < text.length; index += 1) {
    if (text[index] === '(') depth += 1;
    else if (text[index] === ')') depth -= 1;
    else if (text[index] === ',' && depth === 0) {
      parts.push(text.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.length === 1 && parts[0]?.trim() === '' ? [] : parts;
}

function parseRequirement(part: string): LabelRequirement {
  const text = part.trim();
  const fail = (why: string): never => {
    throw badRequest(`unable to parse requirement: ${JSON.stringify(text)}: ${why}`);
  };
  const check = (requirement: LabelRequirement): LabelRequirement => {
    if (!isLabelKey(requirement.key)) fail('the key is not a label key');
    for (const value of requirement.values)
      if (!isLabelValue(value)) fail(`${JSON.stringify(value)} is not a label value`);
    const { operator, values } = requirement;
    if ((operator === 'gt' || operator === 'lt') && !/^\d{1,18}$/.test(values[0] ?? '')) {
      fail("for 'Gt', 'Lt' operators, the value must be an integer");
    }
    return requirement;
  };
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(text);
  if (set) {
    const values = (set[3] as string).split(',').map((value) => value.trim());
    return check({ key: set[1] as string, operator: set[2] as 'in' | 'notin', values });
  }
  const equality = /^([^=!<>\s]+)\s*(==|=|!=|<|>)\s*([^=!<>\s]*)$/.exec(text);
  if (equality) {
    const operator = ({ '=': 'in', '==': 'in', '!=': 'notin', '>': 'gt', '<': 'lt' } as const)[
      equality[2] as '=' | '==' | '!=' | '<' | '>'
    ];
    return check({ key: equality[1] as string, operator, values: [equality[3] as string] });
  }
  if (/^!\s*\S+$/.test(text)) return check({ key: text.slice(1).trim(), operator: '!', values: [] });
  if (/^\S+$/.test(text)) return check({ key: text, operator: 'exists', values: [] });
  return fail('want key=value, key!=value, key in (a,b), key notin (a,b), key or !key');
}

export interface FieldSelector {
  readonly matches: Predicate;
  /** The one name it can match, when it asks for metadata.name. */
  readonly name?: string;
  /** The first field of the resource's own that must equal a value: watches are found by it. */
  readonly equal?: { readonly field: string; readonly value: string };
}

/** The predicate of a field selector; BadRequest for a field that `resource` does not offer. */
export function parseFieldSelector(text: string, resource: Resource): FieldSelector {
  const terms = text
    .split(/(?<!\\),/)
    .filter((term) => term !== '')
    .map((term) => {
      const match = /^([^=!]+)(==|=|!=)(.*)$/s.exec(term);
      if (!match)
        throw badRequest(`invalid selector: ${JSON.stringify(text)}; can't understand ${JSON.stringify(term)}`);
      const field = (match[1] as string).trim();
      const own = resource.selectableFieldNames ?? [];
      const isKnown = field === 'metadata.name' || (field === 'metadata.namespace' && resource.namespaced);
      if (!isKnown && !own.includes(field)) throw badRequest(`field label not supported: ${field}`);
      return { field, equal: match[2] !== '!=', value: (match[3] as string).replaceAll(/\\([\\,=])/g, '$1') };
    });
  const name = terms.find(({ field, equal }) => field === 'metadata.name' && equal)?.value;
  const first = terms.find(({ field, equal }) => equal && resource.selectableFieldNames?.includes(field));
  return {
    ...(name === undefined ? {} : { name }),
    ...(first === undefined ? {} : { equal: { field: first.field, value: first.value } }),
    matches(object) {
      let own: Record<string, string> | undefined;
      return terms.every(({ field, equal, value }) => {
        const actual =
          field === 'metadata.name'
            ? object.metadata.name
            : field === 'metadata.namespace'
              ? (object.metadata.namespace ?? '')
              : ((own ??= resource.selectableFields?.(object) ?? {})[field] ?? '');
        return (actual === value) === equal;
      });
    },
  };
}
