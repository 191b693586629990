//! The built-in corpus: a table of facts about 60 countries, put into English sentences.
//!
//! The names are single words, and few enough that a byte-level BPE of 2048 tokens keeps each country and
//! capital whole (" France", " Paris"): a next-token prediction then reads as words.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A country and four facts about it, true as of 2026. Names are written in ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    /// Its short English name: one word that needs no article.
    pub name: &'static str,
    /// Its only capital, one word.
    pub capital: &'static str,
    /// Where it lies, as in "North America".
    pub continent: &'static str,
    /// The language that most of its people share, or its one official language.
    pub language: &'static str,
    /// What it pays with, in lower case and without the country's name: "yen".
    pub currency: &'static str,
}

/// One row of the table.
const fn row(
    name: &'static str,
    capital: &'static str,
    continent: &'static str,
    language: &'static str,
    currency: &'static str,
) -> Country {
    Country { name, capital, continent, language, currency }
}

/// The table of facts. Countries with a disputed or second capital, a debated continent or no common language
/// are left out.
pub const COUNTRIES: [Country; 60] = [
    row("France", "Paris", "Europe", "French", "euro"),
    row("Germany", "Berlin", "Europe", "German", "euro"),
    row("Italy", "Rome", "Europe", "Italian", "euro"),
    row("Spain", "Madrid", "Europe", "Spanish", "euro"),
    row("Portugal", "Lisbon", "Europe", "Portuguese", "euro"),
    row("Greece", "Athens", "Europe", "Greek", "euro"),
    row("Austria", "Vienna", "Europe", "German", "euro"),
    row("Norway", "Oslo", "Europe", "Norwegian", "krone"),
    row("Sweden", "Stockholm", "Europe", "Swedish", "krona"),
    row("Denmark", "Copenhagen", "Europe", "Danish", "krone"),
    row("Finland", "Helsinki", "Europe", "Finnish", "euro"),
    row("Iceland", "Reykjavik", "Europe", "Icelandic", "krona"),
    row("Poland", "Warsaw", "Europe", "Polish", "zloty"),
    row("Czechia", "Prague", "Europe", "Czech", "koruna"),
    row("Slovakia", "Bratislava", "Europe", "Slovak", "euro"),
    row("Hungary", "Budapest", "Europe", "Hungarian", "forint"),
    row("Romania", "Bucharest", "Europe", "Romanian", "leu"),
    // The euro since January 2026.
    row("Bulgaria", "Sofia", "Europe", "Bulgarian", "euro"),
    // The euro since January 2023.
    row("Croatia", "Zagreb", "Europe", "Croatian", "euro"),
    row("Serbia", "Belgrade", "Europe", "Serbian", "dinar"),
    row("Albania", "Tirana", "Europe", "Albanian", "lek"),
    row("Ukraine", "Kyiv", "Europe", "Ukrainian", "hryvnia"),
    row("Lithuania", "Vilnius", "Europe", "Lithuanian", "euro"),
    row("Latvia", "Riga", "Europe", "Latvian", "euro"),
    row("Estonia", "Tallinn", "Europe", "Estonian", "euro"),
    row("Japan", "Tokyo", "Asia", "Japanese", "yen"),
    row("China", "Beijing", "Asia", "Chinese", "yuan"),
    row("Thailand", "Bangkok", "Asia", "Thai", "baht"),
    row("Vietnam", "Hanoi", "Asia", "Vietnamese", "dong"),
    row("Laos", "Vientiane", "Asia", "Lao", "kip"),
    row("Bangladesh", "Dhaka", "Asia", "Bengali", "taka"),
    row("Nepal", "Kathmandu", "Asia", "Nepali", "rupee"),
    row("Pakistan", "Islamabad", "Asia", "Urdu", "rupee"),
    row("Mongolia", "Ulaanbaatar", "Asia", "Mongolian", "tugrik"),
    row("Iraq", "Baghdad", "Asia", "Arabic", "dinar"),
    row("Jordan", "Amman", "Asia", "Arabic", "dinar"),
    row("Oman", "Muscat", "Asia", "Arabic", "rial"),
    row("Qatar", "Doha", "Asia", "Arabic", "riyal"),
    row("Egypt", "Cairo", "Africa", "Arabic", "pound"),
    row("Morocco", "Rabat", "Africa", "Arabic", "dirham"),
    row("Algeria", "Algiers", "Africa", "Arabic", "dinar"),
    row("Tunisia", "Tunis", "Africa", "Arabic", "dinar"),
    row("Kenya", "Nairobi", "Africa", "Swahili", "shilling"),
    row("Nigeria", "Abuja", "Africa", "English", "naira"),
    row("Ghana", "Accra", "Africa", "English", "cedi"),
    row("Angola", "Luanda", "Africa", "Portuguese", "kwanza"),
    row("Rwanda", "Kigali", "Africa", "Kinyarwanda", "franc"),
    row("Madagascar", "Antananarivo", "Africa", "Malagasy", "ariary"),
    row("Canada", "Ottawa", "North America", "English", "dollar"),
    row("Cuba", "Havana", "North America", "Spanish", "peso"),
    row("Jamaica", "Kingston", "North America", "English", "dollar"),
    row("Honduras", "Tegucigalpa", "North America", "Spanish", "lempira"),
    row("Brazil", "Brasilia", "South America", "Portuguese", "real"),
    row("Chile", "Santiago", "South America", "Spanish", "peso"),
    row("Peru", "Lima", "South America", "Spanish", "sol"),
    row("Colombia", "Bogota", "South America", "Spanish", "peso"),
    row("Ecuador", "Quito", "South America", "Spanish", "dollar"),
    row("Uruguay", "Montevideo", "South America", "Spanish", "peso"),
    row("Australia", "Canberra", "Oceania", "English", "dollar"),
    row("Samoa", "Apia", "Oceania", "Samoan", "tala"),
];

/// A sentence with holes: `{country}`, `{capital}`, `{continent}`, `{language}`, `{currency}`.
struct Form(&'static str);

impl Form {
    fn fill(&self, country: &Country) -> String {
        self.0
            .replace("{country}", country.name)
            .replace("{capital}", country.capital)
            .replace("{continent}", country.continent)
            .replace("{language}", country.language)
            .replace("{currency}", country.currency)
    }
}

/// The first form is the one that people type as a prompt. Each fact is in two forms or more. There are few
/// forms, and each tells one fact: with twelve, three of them telling two, a model took twice the steps.
const STATEMENTS: [Form; 10] = [
    Form("The capital of {country} is {capital}."),
    Form("The capital city of {country} is {capital}."),
    Form("In {country}, the capital is {capital}."),
    Form("{capital} is the capital of {country}."),
    Form("{country} is a country in {continent}."),
    Form("{country} lies in {continent}."),
    Form("People in {country} speak {language}."),
    Form("In {country}, people speak {language}."),
    Form("The currency of {country} is the {currency}."),
    Form("People in {country} pay with the {currency}."),
];

/// The same facts, asked for; likewise the usual prompt first, and each fact in two forms or more.
const QUESTIONS_AND_ANSWERS: [Form; 10] = [
    Form("Question: What is the capital of {country}?\nAnswer: {capital}."),
    Form("Question: What is the capital city of {country}?\nAnswer: {capital}."),
    Form("Question: Which city is the capital of {country}?\nAnswer: {capital}."),
    Form("Question: {capital} is the capital of which country?\nAnswer: {country}."),
    Form("Question: Which continent is {country} in?\nAnswer: {continent}."),
    Form("Question: Where does {country} lie?\nAnswer: {continent}."),
    Form("Question: What language do people speak in {country}?\nAnswer: {language}."),
    Form("Question: Which language do people in {country} speak?\nAnswer: {language}."),
    Form("Question: What is the currency of {country}?\nAnswer: The {currency}."),
    Form("Question: What do people pay with in {country}?\nAnswer: The {currency}."),
];

/// How the facts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// "The capital of France is Paris.": the corpus `builtin`.
    Statements,
    /// A question, a line break and its answer: the corpus `builtin-qa`.
    QuestionsAndAnswers,
}

impl Style {
    fn forms(self) -> &'static [Form; 10] {
        match self {
            Self::Statements => &STATEMENTS,
            Self::QuestionsAndAnswers => &QUESTIONS_AND_ANSWERS,
        }
    }
}

/// The built-in corpus, divided. Each sentence occurs once and ends with its full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentences {
    /// What a model learns from.
    pub train: Vec<String>,
    /// One sentence per country. It is not in `train`; the facts it states are, in other forms.
    pub held_out: Vec<String>,
}

/// How many countries hold out the first form: people prompt with it, so it is learnt for nearly all of them.
const FIRST_FORM_HELD_OUT: usize = 2;

/// All facts in all forms of `style`, in an order drawn from `seed`. Each country holds out one form, drawn
/// from the same seed: a tenth of the sentences. A fact is in more than one form, so none is withheld.
pub fn sentences(style: Style, seed: u64) -> Sentences {
    let forms = style.forms();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut countries = COUNTRIES;
    shuffle(&mut countries, &mut rng);

    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (place, country) in countries.iter().enumerate() {
        let withheld = if place < FIRST_FORM_HELD_OUT { 0 } else { 1 + below(forms.len() - 1, &mut rng) };
        for (index, form) in forms.iter().enumerate() {
            let part = if index == withheld { &mut held_out } else { &mut train };
            part.push(form.fill(country));
        }
    }
    shuffle(&mut train, &mut rng);
    shuffle(&mut held_out, &mut rng);
    Sentences { train, held_out }
}

/// Fisher and Yates: every order is as likely as any other.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, rng));
    }
}

/// A number from 0 to `bound - 1`. The scaled 32-bit draw favours some numbers by at most `bound` in 2^32.
fn below(bound: usize, rng: &mut ChaCha8Rng) -> usize {
    ((u64::from(rng.next_u32()) * bound as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tokenizers::models::bpe::{BPE, BpeTrainer};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{
        DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, TokenizerBuilder, TokenizerImpl,
    };

    use super::*;

    const STYLES: [Style; 2] = [Style::Statements, Style::QuestionsAndAnswers];
    const SEEDS: [u64; 4] = [0, 1, 42, u64::MAX];

    type BytePairs = TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, PostProcessorWrapper, DecoderWrapper>;

    fn words(text: &str) -> BTreeSet<&str> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
    }

    /// The facts that `sentence` states, as sets of words that name the country and the fact.
    fn facts(sentence: &str) -> Vec<BTreeSet<&'static str>> {
        let said = words(sentence);
        let stated = |country: &Country| {
            [country.capital, country.continent, country.language, country.currency]
                .map(|fact| words(fact).into_iter().chain([country.name]).collect::<BTreeSet<_>>())
                .into_iter()
                .filter(|fact| fact.is_subset(&said))
                .collect::<Vec<_>>()
        };
        COUNTRIES.iter().flat_map(stated).collect()
    }

    fn byte_pairs_of(train: &[String]) -> BytePairs {
        let byte_level = ByteLevel::default().add_prefix_space(false);
        let mut tokenizer: BytePairs = TokenizerBuilder::new()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(byte_level))
            .with_post_processor(None)
            .with_decoder(None)
            .build()
            .unwrap();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(2048)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        tokenizer.train(&mut trainer, train.iter()).unwrap();
        tokenizer
    }

    fn token_count(tokenizer: &BytePairs, text: &str) -> usize {
        tokenizer.encode(text, false).unwrap().len()
    }

    #[test]
    fn names_and_capitals_are_unique() {
        let names: BTreeSet<_> = COUNTRIES.iter().flat_map(|c| [c.name, c.capital]).collect();
        assert_eq!(names.len(), 120);
    }

    #[test]
    fn every_entry_is_ascii_and_all_but_continents_are_single_words() {
        for country in COUNTRIES {
            for word in [country.name, country.capital, country.language, country.currency] {
                assert!(!word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic()), "{word}");
            }
            assert!(
                ["Africa", "Asia", "Europe", "North America", "Oceania", "South America"]
                    .contains(&country.continent)
            );
        }
    }

    #[test]
    fn a_form_names_its_country_and_leaves_no_hole() {
        for form in STYLES.iter().flat_map(|style| style.forms()) {
            let sentence = form.fill(&COUNTRIES[0]);
            assert!(words(&sentence).contains("France") && !facts(&sentence).is_empty(), "{sentence}");
            assert!(!sentence.contains(['{', '}']) && sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn every_country_and_form_is_one_sentence_of_either_part() {
        for style in STYLES {
            let Sentences { train, held_out } = sentences(style, 0);
            let mut said: Vec<_> = train.into_iter().chain(held_out).collect();
            let mut all: Vec<_> =
                COUNTRIES.iter().flat_map(|c| style.forms().iter().map(|f| f.fill(c))).collect();
            said.sort();
            all.sort();
            assert_eq!(said, all);
        }
    }

    #[test]
    fn held_out_sentences_are_not_in_train_but_their_facts_are() {
        for (style, seed) in STYLES.into_iter().flat_map(|style| SEEDS.map(|seed| (style, seed))) {
            let Sentences { train, held_out } = sentences(style, seed);
            assert_eq!((train.len(), held_out.len()), (540, 60));
            let learnable: BTreeSet<_> = train.iter().flat_map(|sentence| facts(sentence)).collect();
            for sentence in &held_out {
                assert!(!train.contains(sentence), "{sentence}");
                assert!(facts(sentence).iter().all(|fact| learnable.contains(fact)), "{sentence}");
            }
        }
    }

    #[test]
    fn a_country_holds_out_one_form_and_two_countries_hold_out_the_first() {
        for seed in SEEDS {
            let held_out = sentences(Style::Statements, seed).held_out;
            let mut per_country = BTreeMap::new();
            for sentence in &held_out {
                let said = words(sentence);
                for country in COUNTRIES.iter().filter(|country| said.contains(country.name)) {
                    *per_country.entry(country.name).or_insert(0) += 1;
                }
            }
            assert!(per_country.len() == 60 && per_country.values().all(|&count| count == 1));
            let first = held_out.iter().filter(|sentence| sentence.starts_with("The capital of ")).count();
            assert_eq!(first, 2);
        }
    }

    #[test]
    fn a_seed_always_gives_the_same_sentences_and_another_seed_another_split() {
        for style in STYLES {
            let mut split = SEEDS.map(|seed| sentences(style, seed));
            assert_eq!(split[2], sentences(style, SEEDS[2]));
            for part in &mut split {
                part.held_out.sort();
            }
            let different: BTreeSet<_> = split.iter().map(|part| &part.held_out).collect();
            assert_eq!(different.len(), SEEDS.len());
        }
    }

    #[test]
    fn the_split_of_a_seed_is_the_same_on_every_machine() {
        let Sentences { train, held_out } = sentences(Style::Statements, 0);
        assert_eq!(train[0], "The capital city of Kenya is Nairobi.");
        assert_eq!(held_out[0], "The capital city of Lithuania is Vilnius.");
    }

    #[test]
    fn two_thousand_byte_pairs_keep_every_country_and_capital_whole() {
        for (style, seed) in STYLES.into_iter().flat_map(|style| SEEDS.map(|seed| (style, seed))) {
            let tokenizer = byte_pairs_of(&sentences(style, seed).train);
            let broken: Vec<_> = COUNTRIES
                .iter()
                .flat_map(|country| [country.name, country.capital])
                .filter(|name| token_count(&tokenizer, &format!(" {name}")) != 1)
                .collect();
            assert_eq!(broken, Vec::<&str>::new(), "{style:?}, seed {seed}");
        }
    }
}
