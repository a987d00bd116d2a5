//! SCHEMA: the BSON type and the name of each field.
//!
//! A rule names a field: in a hash by its whole name, in JSON by its path in dot notation. `*` is
//! every field without a rule of its own.

/// A field has a name that SCHEMA gives to another field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTaken(pub String);

/// A type that SCHEMA can convert to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A string; Binary subtype 0 when it is not UTF-8.
    String,
    /// A 64-bit integer.
    Int64,
    /// A double.
    Double,
    /// A Decimal128 with exactly those digits.
    Decimal,
    /// `true`, `false`, `1` or `0`.
    Bool,
    /// ISO 8601, or seconds or milliseconds since 1970, which are distinguished by the size of the
    /// number.
    Date,
    /// ISO 8601, or seconds since 1970.
    DateS,
    /// ISO 8601, or milliseconds since 1970.
    DateMs,
    /// 24 hexadecimal digits.
    ObjectId,
    /// A hyphenated UUID, as Binary subtype 4.
    Uuid,
    /// Binary subtype 0.
    Binary,
    /// JSON text, stored as the value that it contains.
    Json,
    /// Canonical integers and decimals as numbers, everything else as a string.
    Auto,
    /// Left out.
    Skip,
}

/// Every type with its keyword.
pub const FIELD_TYPES: [(&str, FieldType); 14] = [
    ("STRING", FieldType::String),
    ("INT64", FieldType::Int64),
    ("DOUBLE", FieldType::Double),
    ("DECIMAL", FieldType::Decimal),
    ("BOOL", FieldType::Bool),
    ("DATE", FieldType::Date),
    ("DATE_S", FieldType::DateS),
    ("DATE_MS", FieldType::DateMs),
    ("OBJECTID", FieldType::ObjectId),
    ("UUID", FieldType::Uuid),
    ("BINARY", FieldType::Binary),
    ("JSON", FieldType::Json),
    ("AUTO", FieldType::Auto),
    ("SKIP", FieldType::Skip),
];

impl FieldType {
    /// The keyword of the type.
    pub fn name(self) -> &'static str {
        FIELD_TYPES.iter().find(|(_, to)| *to == self).map_or("", |(name, _)| name)
    }

    /// True if this type stores an object unchanged.
    fn takes_objects(self) -> bool {
        matches!(self, FieldType::Json | FieldType::Auto)
    }
}

/// The rule of SCHEMA for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The field's name, or its path in JSON.
    pub field: String,
    /// Its type.
    pub to: FieldType,
    /// The new name of the field; its parent stays the same.
    pub name: Option<String>,
}

impl Rule {
    /// The field's name in the document of a hash, and its path in the document of a JSON value.
    pub fn outcomes(&self) -> (&str, String) {
        let name = self.name.as_deref();
        let path = match (self.field.rsplit_once('.'), name) {
            (Some((parent, _)), Some(name)) => format!("{parent}.{name}"),
            (None, Some(name)) => name.to_owned(),
            (_, None) => self.field.clone(),
        };
        (name.unwrap_or(&self.field), path)
    }
}

/// The rules of one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Rules as registered, one for each field.
    rules: Vec<Rule>,
    /// The type of every other field.
    star: Option<FieldType>,
    /// Indexes into the rules, sorted by field.
    by_field: Vec<usize>,
    /// The same rules as a tree of their paths.
    tree: Node,
}

/// The rules below one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Index of the rule that ends here.
    rule: Option<usize>,
    /// Sorted by name.
    children: Vec<(String, Node)>,
    /// New names of the children.
    given: Vec<String>,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        let at = self.children.binary_search_by(|(child, _)| child.as_str().cmp(name)).ok()?;
        self.children.get(at).map(|(_, node)| node)
    }

    fn child_mut(&mut self, name: &str) -> &mut Node {
        let at = match self.children.binary_search_by(|(child, _)| child.as_str().cmp(name)) {
            Ok(at) => at,
            Err(at) => {
                self.children.insert(at, (name.to_owned(), Node::default()));
                at
            }
        };
        &mut self.children[at].1
    }
}

/// The name of a field in the document, and its type if a rule gives it one.
pub type Target<'a> = (&'a str, Option<FieldType>);

impl Schema {
    /// A schema of these rules, one for each field; `star` is the type of all other fields.
    pub fn new(rules: Vec<Rule>, star: Option<FieldType>) -> Self {
        let mut tree = Node::default();
        for (index, rule) in rules.iter().enumerate() {
            let (parent, last) = match rule.field.rsplit_once('.') {
                Some((parent, last)) => (Some(parent), last),
                None => (None, rule.field.as_str()),
            };
            let names = parent.into_iter().flat_map(|parent| parent.split('.'));
            let node = names.fold(&mut tree, |node, name| node.child_mut(name));
            node.given.extend(rule.name.clone());
            node.child_mut(last).rule = Some(index);
        }
        let mut by_field: Vec<usize> = (0..rules.len()).collect();
        by_field.sort_by(|a, b| rules[*a].field.cmp(&rules[*b].field));
        Schema { rules, star, by_field, tree }
    }

    /// The rules as registered.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The type of fields without a rule.
    pub fn star(&self) -> Option<FieldType> {
        self.star
    }

    /// The name and type of the field `name` of a value that is not JSON.
    ///
    /// [`NameTaken`] if a rule gives this name to another field.
    pub fn field<'a>(&'a self, name: &'a str) -> Result<Target<'a>, NameTaken> {
        let of = |index: &usize| &self.rules[*index];
        let found = self.by_field.binary_search_by(|index| of(index).field.as_str().cmp(name));
        match found.ok().and_then(|at| self.by_field.get(at)).map(of) {
            Some(rule) => Ok((rule.name.as_deref().unwrap_or(name), Some(rule.to))),
            None if self.rules.iter().any(|rule| rule.name.as_deref() == Some(name)) => {
                Err(NameTaken(name.to_owned()))
            }
            None => Ok((name, self.star)),
        }
    }

    /// The inverse of [`Schema::field`]: the name in Redis of the field that documents have under
    /// `name`, and its type; `None` if no field of Redis is stored there.
    pub fn source<'a>(&'a self, name: &'a str) -> Option<Target<'a>> {
        let renamed = self.rules.iter().find(|rule| rule.name.as_deref() == Some(name));
        let source = renamed.map_or(name, |rule| &rule.field);
        let (given, to) = self.field(source).ok()?;
        (given == name && to != Some(FieldType::Skip)).then_some((source, to))
    }

    /// The position of a JSON document's root.
    pub fn root(&self) -> SchemaPlace<'_> {
        SchemaPlace { schema: Some(self), node: Some(&self.tree), ..SchemaPlace::default() }
            .below_star(self)
    }
}

/// A position in a JSON value, with the rules of SCHEMA for it and for the fields below it. The
/// elements of an array are at the position of the array.
#[derive(Clone, Copy, Debug, Default)]
pub struct SchemaPlace<'s> {
    schema: Option<&'s Schema>,
    node: Option<&'s Node>,
    to: Option<FieldType>,
    /// The type of fields below without a rule.
    star: Option<FieldType>,
    /// The rule that gave the type; without one it came from `*`.
    rule: Option<&'s Rule>,
}

impl<'s> SchemaPlace<'s> {
    fn below_star(self, schema: &Schema) -> Self {
        SchemaPlace { star: schema.star, ..self }
    }

    /// The type to which a scalar at this position is converted.
    #[inline]
    pub fn to(&self) -> Option<FieldType> {
        self.to
    }

    /// The field's name in its rule, if it has a rule of its own.
    pub fn label(&self) -> Option<&'s str> {
        self.rule.map(|rule| rule.field.as_str())
    }

    /// The type required at this position, if an object cannot be converted to it.
    pub fn refuses_objects(&self) -> Option<FieldType> {
        let leaf = self.node.is_none_or(|node| node.children.is_empty());
        self.rule.map(|rule| rule.to).filter(|to| leaf && !to.takes_objects())
    }

    /// The position of the field `name` below this one, with its new name if it has one; `None` if
    /// the field is omitted.
    ///
    /// [`NameTaken`] if a rule gives this name to another field.
    #[inline]
    pub fn field(
        &self,
        name: &str,
    ) -> Result<Option<(Option<&'s str>, SchemaPlace<'s>)>, NameTaken> {
        match self.schema {
            None => Ok(Some((None, *self))),
            Some(schema) => self.below(schema, name),
        }
    }

    /// The inverse of [`SchemaPlace::field`]: the name in Redis of the field that documents have under
    /// `name` here, and its position; `None` if no field of Redis is stored there.
    pub fn source<'n>(&self, name: &'n str) -> Option<(&'n str, SchemaPlace<'s>)>
    where
        's: 'n,
    {
        let given = |(source, node): &'s (String, Node)| {
            let rule = self.schema?.rules.get(node.rule?)?;
            (rule.name.as_deref() == Some(name)).then_some(source.as_str())
        };
        let renamed = self.node.filter(|node| node.given.iter().any(|given| given == name));
        let source = renamed.and_then(|node| node.children.iter().find_map(given)).unwrap_or(name);
        let (stored, place) = self.field(source).ok().flatten()?;
        (stored.unwrap_or(source) == name).then_some((source, place))
    }

    fn below(
        &self,
        schema: &'s Schema,
        name: &str,
    ) -> Result<Option<(Option<&'s str>, SchemaPlace<'s>)>, NameTaken> {
        let node = self.node.and_then(|node| node.child(name));
        let rule = node.and_then(|node| node.rule).and_then(|index| schema.rules.get(index));
        if rule.is_none()
            && self.node.is_some_and(|node| node.given.iter().any(|given| given == name))
        {
            return Err(NameTaken(name.to_owned()));
        }
        let to = rule.map_or(self.star, |rule| Some(rule.to));
        let named_below = rule.is_none() && node.is_some();
        if to == Some(FieldType::Skip) && !named_below {
            return Ok(None);
        }
        // An object that a rule stores unchanged keeps all fields below it that have no rule.
        let whole = rule.is_some_and(|rule| rule.to.takes_objects());
        let star = if whole { None } else { self.star };
        let place = SchemaPlace { schema: self.schema, node, to, star, rule };
        Ok(Some((rule.and_then(|rule| rule.name.as_deref()), place)))
    }
}

#[cfg(test)]
mod tests;
