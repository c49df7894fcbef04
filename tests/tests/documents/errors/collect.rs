//! Collects the messages that the code can show to a user. The rules are in `places.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use syn::{
    Attribute, ExprCall, ExprMethodCall, ItemFn, ItemImpl, ItemMod, LitStr, Macro, Stmt,
    visit::{self, Visit},
};

use super::{ROOT, places};

/// The form in which a user meets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A log line of level ERROR.
    LogError,
    /// A log line of level WARN.
    LogWarning,
    /// The text of an error.
    Text,
}

/// A message in the code.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Empty for a log line whose whole text is a value.
    pub(crate) text: String,
    pub(crate) file: String,
    pub(crate) line: usize,
}

/// Returns all messages of the workspace, in the order of the files.
pub(crate) fn messages() -> &'static [Message] {
    static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| {
        let mut files = Vec::new();
        for source in places::SOURCES {
            list(&Path::new(ROOT).join(source), &mut files);
        }
        let root = Path::new(ROOT);
        let messages = files.iter().flat_map(|path| {
            let code = fs::read_to_string(path).expect("a listed file is readable");
            let shown = path.strip_prefix(root).expect("files are below the root");
            messages_in(&code, &shown.display().to_string())
        });
        messages.collect()
    });
    &MESSAGES
}

/// Returns the messages in the code of a file.
pub(crate) fn messages_in(code: &str, file: &str) -> Vec<Message> {
    let parsed = syn::parse_file(code).expect("a file of the workspace is valid Rust");
    let mut collector = Collector {
        file: file.to_owned(),
        // The macros have no other texts than those of compile errors.
        all_texts: file.starts_with("router-macros/src"),
        documents_panic: false,
        errors: error_types(&parsed),
        messages: Vec::new(),
    };
    collector.visit_file(&parsed);
    collector.messages
}

/// Lists the source files in a folder, without modules for tests.
fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("the folder of sources exists");
    let mut entries: Vec<_> =
        entries.map(|entry| entry.expect("a folder is readable").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !places::is_read(&name, &[]) {
            continue;
        }
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

struct Collector {
    file: String,
    /// `true` inside a function all of whose texts are for users.
    all_texts: bool,
    /// `true` inside a function whose documentation says when it panics.
    documents_panic: bool,
    /// The types of this file that implement `Error`.
    errors: Vec<String>,
    messages: Vec<Message>,
}

impl Collector {
    fn push(&mut self, kind: Kind, literal: &LitStr) {
        let text = places::template(&literal.value());
        let (has_words, is_log) = (places::has_words(&text), kind != Kind::Text);
        if has_words || is_log {
            let text = if has_words { text } else { String::new() };
            let (file, line) = (self.file.clone(), literal.span().start().line);
            self.messages.push(Message { kind, text, file, line });
        }
    }

    fn push_text(&mut self, literal: &LitStr) {
        if self.all_texts && places::begins_text(&literal.value()) {
            self.push(Kind::Text, literal);
        }
    }

    /// Visits a function, unless it is only for tests.
    fn in_function(
        &mut self,
        attributes: &[Attribute],
        signature: &syn::Signature,
        block: &syn::Block,
        visit: impl FnOnce(&mut Self),
    ) {
        if !attributes.iter().any(places::is_test_only) {
            let all = makes_errors(signature, block);
            self.documents_panic = attributes.iter().any(places::documents_panic);
            self.with_all_texts(all, visit);
            self.documents_panic = false;
        }
    }

    fn with_all_texts(&mut self, all: bool, visit: impl FnOnce(&mut Self)) {
        let before = self.all_texts;
        self.all_texts |= all;
        visit(self);
        self.all_texts = before;
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path = attribute.path();
        let Ok(list) = attribute.meta.require_list() else { return };
        let is_diagnostic =
            path.segments.last().is_some_and(|last| last.ident == "on_unimplemented");
        if path.is_ident("error") || is_diagnostic {
            let mut literals = places::strings(list.tokens.clone()).into_iter();
            literals.next().iter().for_each(|literal| self.push(Kind::Text, literal));
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if places::is_read(&module.ident.to_string(), &module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let path = item.trait_.as_ref().map(|(path, _)| path);
        let name = path.and_then(|path| path.segments.last());
        let is_display = name.is_some_and(|name| name.ident == "Display");
        if !is_display {
            return visit::visit_item_impl(self, item);
        }
        if places::is_displayed(&type_name(&item.self_ty), &self.errors) {
            self.with_all_texts(true, |this| visit::visit_item_impl(this, item));
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.in_function(&function.attrs, &function.sig, &function.block, |this| {
            visit::visit_item_fn(this, function);
        });
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.in_function(&function.attrs, &function.sig, &function.block, |this| {
            visit::visit_impl_item_fn(this, function);
        });
    }

    fn visit_item_const(&mut self, constant: &'ast syn::ItemConst) {
        let is_text = places::is_constant_text(&constant.ident.to_string());
        self.with_all_texts(is_text, |this| visit::visit_item_const(this, constant));
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        let is_table = ["metrics", "keys"].iter().any(|name| item.mac.path.is_ident(name));
        if is_table {
            return;
        }
        let is_call = item.ident.is_none();
        self.with_all_texts(is_call, |this| visit::visit_item_macro(this, item));
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        let name = match &*call.func {
            syn::Expr::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let name = name.unwrap_or_default();
        let is_left_out = places::is_left_out(&name);
        self.with_all_texts(places::is_forwarding(&name), |this| {
            // Other arguments may be closures with code that logs.
            let is_read = |argument: &&syn::Expr| !is_left_out || !is_literal(argument);
            call.args.iter().filter(is_read).for_each(|argument| this.visit_expr(argument));
        });
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let name = call.method.to_string();
        self.visit_expr(&call.receiver);
        if name == "note" {
            let warnings = strings_of(call).into_iter();
            let warnings = warnings.filter(|literal| literal.value().contains("warning:"));
            warnings.for_each(|literal| self.push(Kind::Text, &literal));
        } else if name == "error" || !places::is_left_out(&name) {
            let all = places::is_forwarding(&name);
            self.with_all_texts(all, |this| {
                call.args.iter().for_each(|argument| this.visit_expr(argument));
            });
        }
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        let name = item.path.segments.last().map(|last| last.ident.to_string());
        let name = name.unwrap_or_default();
        let level = |name: &str| match name {
            "error" => Kind::LogError,
            _ => Kind::LogWarning,
        };
        if ["warn", "error"].contains(&name.as_str()) {
            let message = places::log_message(item.tokens.clone());
            message.iter().for_each(|message| self.push(level(&name), message));
            return;
        }
        if self.documents_panic && ["assert", "panic"].contains(&name.as_str()) {
            let message = places::log_message(item.tokens.clone());
            message.iter().for_each(|message| self.push(Kind::Text, message));
        }
        for (name, message) in places::nested_logs(item.tokens.clone()) {
            self.push(level(&name), &message);
        }
        if !places::is_left_out(&name) {
            for literal in places::strings(item.tokens.clone()) {
                self.push_text(&literal);
            }
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        self.push_text(literal);
    }
}

/// Returns whether an expression is a literal, perhaps with a conversion as in `"…".into()`.
fn is_literal(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Lit(_) => true,
        syn::Expr::MethodCall(call) => is_literal(&call.receiver),
        _ => false,
    }
}

/// Returns whether a function makes an error of a text.
fn makes_errors(signature: &syn::Signature, block: &syn::Block) -> bool {
    #[derive(Default)]
    struct Search(bool);
    impl<'ast> Visit<'ast> for Search {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            self.0 |= places::is_constructor(path);
            self.0 |= path
                .segments
                .last()
                .is_some_and(|last| places::is_forwarding(&last.ident.to_string()));
            visit::visit_path(self, path);
        }

        fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
            self.0 |= places::is_forwarding(&call.method.to_string());
            visit::visit_expr_method_call(self, call);
        }
    }
    let mut search = Search::default();
    block.stmts.iter().for_each(|statement: &Stmt| search.visit_stmt(statement));
    search.0 || places::has_only_texts(signature)
}

/// Returns the names of the types in a file that implement `Error` by hand.
fn error_types(file: &syn::File) -> Vec<String> {
    let implementations = file.items.iter().filter_map(|item| match item {
        syn::Item::Impl(item) => Some((&item.trait_.as_ref()?.0, type_name(&item.self_ty))),
        _ => None,
    });
    let errors = implementations
        .filter(|(path, _)| path.segments.last().is_some_and(|last| last.ident == "Error"));
    errors.map(|(_, name)| name).collect()
}

fn type_name(ty: &syn::Type) -> String {
    match ty {
        syn::Type::Path(path) => {
            path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn strings_of(call: &ExprMethodCall) -> Vec<LitStr> {
    places::strings(quote::ToTokens::to_token_stream(&call.args))
}
