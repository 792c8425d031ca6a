// metav1.LabelSelector: which objects another one is about, by their labels.

export interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values?: readonly string[] | null;
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | null;
  readonly matchExpressions?: readonly LabelSelectorRequirement[] | null;
}

/** Whether `labels` fit: an absent selector fits nothing, an empty one everything. */
export function matchesSelector(
  selector: LabelSelector | null | undefined,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  if (!selector) return false;
  const valueOf = (key: string): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => valueOf(key) === value) &&
    (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
      const value = valueOf(key);
      switch (operator) {
        case 'In':
          return value !== undefined && (values ?? []).includes(value);
        case 'NotIn':
          return value === undefined || !(values ?? []).includes(value);
        case 'Exists':
          return value !== undefined;
        case 'DoesNotExist':
          return value === undefined;
      }
    })
  );
}
